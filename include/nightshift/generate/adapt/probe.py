"""How much of what the model writes can be used: counted by the strategies' own reading."""

from __future__ import annotations

from typing import Any

import polars as pl

from nightshift.generate.adapters import Taught
from nightshift.generate.hashing import stable_hash
from nightshift.generate.shortage import MIN_LETTERS
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.bases.prompted import PromptedStrategy

_EXAMPLES = 6
"""Of what it writes now, for the card."""
_SALT = 3
"""Other items than a plan would take first."""


def probe_targets(sources: Sources, count: int) -> pl.DataFrame:
    """Items to write for, of different texts, none withheld, in the order of a hash."""
    items = sources.snapshot.items.filter(
        ~pl.col("withheld") & (pl.col("text").str.count_matches(r"\p{L}") >= MIN_LETTERS)
    ).unique("text", keep="first", maintain_order=True)
    order = stable_hash(items["item_id"].to_list(), _SALT).argsort()[:count]
    return items[order].select(
        "item_id",
        user_key=pl.lit(None, pl.String),
        shortage=pl.lit(1.0),
        budget=pl.lit(1, pl.Int64),
    )


def usable(strategy: PromptedStrategy, targets: pl.DataFrame, taught: Taught | None) -> Any:
    """What the strategy makes of these targets, with or without an adapter.

    Returns:
        `made`, `asked`, `rate` (made of what was asked), `dropped` by reason, and some `texts`.
    """
    before = strategy.sources
    sources = Sources(before.lake, before.settings, before.snapshot.manifest, None, adapter=taught)
    chunk = type(strategy)(sources).generate(targets)
    made = chunk.samples.num_rows
    asked = made + sum(chunk.dropped.values())
    titles = before.snapshot.items.select("item_id", "title")
    shown = pl.DataFrame(chunk.samples).head(_EXAMPLES).join(titles, on="item_id", how="left")
    return {
        "made": made,
        "asked": asked,
        "rate": round(made / asked, 3) if asked else None,
        "dropped": chunk.dropped,
        "texts": shown.select("title", "text").rows(),
    }
