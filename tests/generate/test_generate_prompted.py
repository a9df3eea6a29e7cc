"""What holds of every strategy that a language model writes for."""

from __future__ import annotations

import pytest
from stand_ins import Writer

from nightshift.generate import strategies
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.bases.prompted import PromptedStrategy

PROMPTED = [
    name
    for name in strategies.strategy_names()
    if issubclass(strategies.strategy_class(name), PromptedStrategy)
]


@pytest.mark.parametrize("name", PROMPTED)
def test_a_chunk_without_one_usable_answer_is_empty_and_counted(
    sources: Sources, name: str
) -> None:
    engine = Writer(lambda _: "")
    sources.__dict__["engine"] = engine
    strategy = strategies.create_strategy(name, sources)
    targets = strategy.plan(100).head(40)
    strategy.fit()

    chunk = strategy.generate(targets)

    assert engine.prompts
    assert chunk.samples.num_rows == 0
    assert sum(chunk.dropped.values()) == targets["budget"].sum() > 0
