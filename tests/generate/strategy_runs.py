"""Running one strategy without a plan."""

from __future__ import annotations

import polars as pl

from nightshift import contracts
from nightshift.generate.strategies.base import Strategy


def generate_all(strategy: Strategy, budget: int, *, chunks: int = 1) -> pl.DataFrame:
    """Samples of everything the strategy wishes for, its targets dealt over `chunks`."""
    wishes = strategy.plan(budget)
    strategy.fit()
    made = [strategy.generate(wishes.gather_every(chunks, offset)) for offset in range(chunks)]
    tables = [chunk.samples for chunk in made]
    assert all(table.schema == contracts.SAMPLES for table in tables)
    return pl.concat([pl.DataFrame(table) for table in tables])
