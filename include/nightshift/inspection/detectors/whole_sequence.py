"""A sequence as a whole, context and last item together: whose items are they, does one return."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.facts import Facts


def sequence_facts(samples: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """One row per sample, where it has any item.

    Args:
        samples: `row`, `user`, `user_key`, `item_id`, `context_items`.

    Returns:
        `row`, `own_share` (of its items, those that the user had before the night; null without a
        user), `returns` (items that are there already), `item_codes` (-1: not in the catalogue).
    """
    whole = pl.concat_list(pl.col("context_items").fill_null([]), pl.col("item_id"))
    entries = (
        samples.select("row", "user", "user_key", entry=whole)
        .explode("entry", empty_as_null=False)
        .pipe(facts.coded, "entry")
    )
    own = facts.had(entries["user"], entries["code"])
    return (
        entries.with_columns(own=own)
        .group_by("row", maintain_order=True)
        .agg(
            own_share=pl.col("own").mean(),
            returns=(pl.len() - pl.col("entry").n_unique()).cast(pl.Int64),
            item_codes=pl.col("code"),
            of_a_user=pl.col("user_key").is_not_null().first(),
        )
        .with_columns(own_share=pl.when("of_a_user").then("own_share").round(4))
        .drop("of_a_user")
    )
