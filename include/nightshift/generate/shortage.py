"""How short of samples items are."""

from __future__ import annotations

import polars as pl

from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import WISHES

MIN_LETTERS = 3
"""A text with fewer says nothing that an encoder or a language model could use."""


def shortage(events: pl.Expr, tail_events: int) -> pl.Expr:
    """1 without any event, falling to 1 / (tail_events + 1) at `tail_events`, 0 above."""
    return (1 - events / (tail_events + 1)).clip(lower_bound=0.0)


def items_by_shortage(sources: Sources) -> pl.DataFrame:
    """Items with usable text, the shortest of events first.

    Withheld items have no events in a snapshot, so they are as short as cold ones. Equal items
    are put in the order of a hash of their id: no catalogue order, the same every night.

    Returns:
        `item` (code), `item_id`, `shortage`, `hash`.
    """
    items = sources.snapshot.items
    return (
        items.select(
            "item_id",
            "text",
            shortage=pl.when("withheld")
            .then(1.0)
            .otherwise(shortage(pl.col("events"), sources.settings.generate.tail_events)),
        )
        .with_row_index("item")
        .with_columns(hash=pl.Series(sources.item_hashes))
        .filter(pl.col("text").fill_null("").str.count_matches(r"\p{L}") >= MIN_LETTERS)
        .sort(["shortage", "hash"], descending=[True, False])
        .drop("text")
    )


def one_item_a_text(sources: Sources, per_item: int) -> pl.DataFrame:
    """Wishes for every item with usable text, the shortest of samples first.

    Of the items that share a text just one: its variants would get the same answers.
    """
    rows = sources.texts[1]
    items = items_by_shortage(sources)
    return (
        items.with_columns(row=pl.Series(rows[items["item"].to_numpy()]))
        .unique("row", keep="first", maintain_order=True)
        .select(
            "item_id",
            pl.lit(None, pl.String).alias("user_key"),
            "shortage",
            pl.lit(per_item, pl.Int64).alias("budget"),
        )
        .select(WISHES)
    )
