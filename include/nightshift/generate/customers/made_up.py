"""Customers that do not exist: their keys, their randomness, what they are like.

A strategy that makes customers up wishes for them by number: `item_id` of its targets is null and
`user_key` is `made-up-000042`. The samples carry `user_key` null, for nobody has that history; the
key is in their lineage. All that is random about customer 42 follows from the seed and that key,
so a chunk's samples depend on no other chunk, and customer 42 stays who it is when more are asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from nightshift.generate.customers.shown import common_segments
from nightshift.generate.hashing import Hashes, combine, splitmix, stable_hash, uniform
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import WISHES

UNKNOWN = "unknown"
"""Stands for a segment, category or price band that the shop or the customer lacks."""
CONDITIONS = ("segment", "category", "price_band")

_WHO = 101
"""Salt of the draw of a customer's conditions; what a strategy draws besides takes other salts."""


def made_up_key(number: int) -> str:
    return f"made-up-{number:06}"


def customer_hashes(keys: Sequence[str], seed: int, salt: int = 0) -> Hashes:
    """The seed of each made-up customer: [keys]."""
    seeded = splitmix(np.full(len(keys), seed, dtype=np.uint64))
    return combine(seeded, stable_hash(keys, salt))


def conditions_of_users(sources: Sources) -> pl.DataFrame:
    """What every customer with an event is like: `user_key` and CONDITIONS, no nulls.

    `category` is the one that the customer takes most. A segment of a few is unknown: prompts and
    lineages tell it.
    """
    return (
        sources.snapshot.users.with_columns(segment=common_segments(sources.snapshot))
        .filter(pl.col("events") > 0)
        .select(
            "user_key",
            "segment",
            pl.col("top_categories").list.first().alias("category"),
            "price_band",
        )
        .with_columns(pl.col(CONDITIONS).fill_null(UNKNOWN))
    )


def draw_conditions(
    sources: Sources, keys: Sequence[str], customers: pl.DataFrame | None = None
) -> pl.DataFrame:
    """CONDITIONS of each made-up customer, drawn from the shop's own mix of all three together.

    Args:
        customers: what real customers are like; by default `conditions_of_users`. Columns besides
            CONDITIONS are drawn with them.

    Returns:
        The columns of `customers`, `user_key` being the one given: [keys]. Empty when the shop has
        no customer.
    """
    customers = conditions_of_users(sources) if customers is None else customers
    if customers.is_empty():
        return customers
    # An order of its own: no row order of the lake decides a draw.
    mix = customers.sort(*CONDITIONS, "user_key")
    seeds = customer_hashes(keys, sources.settings.generate.seed, _WHO)
    chosen = (uniform(seeds) * mix.height).astype(np.int64)
    return mix[chosen].with_columns(pl.Series("user_key", keys))


def wishes(sources: Sources, customers: int, of: pl.DataFrame | None = None) -> pl.DataFrame:
    """One sample of each of so many made-up customers: WISHES.

    Those of tail categories are first: when the budget is short, it is spent where the shop knows
    least. `shortage` is the share of tail and cold items in the customer's favourite category.

    Args:
        of: what real customers are like, as in `draw_conditions`.
    """
    keys = [made_up_key(number) for number in range(customers)]
    drawn = draw_conditions(sources, keys, of)
    tail = pl.col("events") <= sources.settings.generate.tail_events
    short = (
        sources.snapshot.items.group_by(pl.col("category").fill_null(UNKNOWN))
        .agg(shortage=tail.mean())
        .sort("category")
    )
    return (
        drawn.join(short, on="category", how="left", maintain_order="left")
        .with_columns(
            pl.col("shortage").fill_null(0.0),
            item_id=pl.lit(None, pl.String),
            budget=pl.lit(1, pl.Int64),
            hash=pl.Series(stable_hash(drawn["user_key"].to_list())),
        )
        .sort(["shortage", "hash"], descending=[True, False])
        .select(WISHES)
    )
