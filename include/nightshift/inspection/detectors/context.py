"""The history in front of a target: is it there, is it the user's own, does it end before it."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.facts import UNKNOWN, Facts


def context_facts(samples: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """One row per sample: `row`, `context_length`, and three flags.

    Args:
        samples: `row`, `user`, `item`, `item_id`, `context_items`.

    Returns:
        `context_known` (every item is in the catalogue), `context_own` (every item is in the
        user's history before the night), `target_after` (the target is not in it).
    """
    entries = (
        samples.filter(pl.col("context_items").is_not_null())
        .select("row", "user", "item_id", entry="context_items")
        .explode("entry", empty_as_null=False)
        .pipe(facts.coded, "entry")
    )
    flags = (
        entries.with_columns(own=facts.had(entries["user"], entries["code"]))
        .group_by("row")
        .agg(
            context_known=(pl.col("code") != UNKNOWN).all(),
            context_own=pl.col("own").all(),
            target_after=(pl.col("entry") != pl.col("item_id")).fill_null(True).all(),
        )
    )
    return (
        samples.select("row", context_length=pl.col("context_items").list.len().fill_null(0))
        .join(flags, on="row", how="left", maintain_order="left")
        # An empty context fails by its length; it holds nothing that could be wrong besides.
        .with_columns(pl.col("context_known", "context_own", "target_after").fill_null(True))
    )
