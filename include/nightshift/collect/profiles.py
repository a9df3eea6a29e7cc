"""Profiles of items and users, from the snapshot's own events: nothing else can leak into them.

Target events (`shop.target_kinds`) are what counts as an event here; a user's first and last
event may be of any kind.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

BANDS = ("low", "mid", "high")
TOP_CATEGORIES = 3
_WEEK = timedelta(days=7)


def items(catalogue: pl.DataFrame, targets: pl.LazyFrame, start: datetime) -> pl.DataFrame:
    """The catalogue with `events`, `users`, `last_event`, `events_7d`, `price`, `price_band`.

    An item without a price in the catalogue gets the median unit price paid before the night.
    """
    paid = (pl.col("kind") == "purchase") & (pl.col("value") > 0) & (pl.col("quantity") > 0)
    counts = (
        targets.group_by("item_id")
        .agg(
            events=pl.len().cast(pl.Int64),
            users=pl.col("user_key").n_unique().cast(pl.Int64),
            last_event=pl.col("occurred_at").max(),
            events_7d=(pl.col("occurred_at") >= start - _WEEK).sum().cast(pl.Int64),
            paid=(pl.col("value") / pl.col("quantity")).filter(paid).median().round(2),
        )
        .collect(engine="streaming")
    )
    joined = catalogue.join(counts, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("events", "users", "events_7d").fill_null(0),
        price=pl.coalesce("price", pl.when(pl.col("paid") > 0).then("paid")),
    )
    return joined.with_columns(price_band=_band(pl.col("price"), "category"))


def _band(price: pl.Expr, category: str) -> pl.Expr:
    """Terciles of the price within the category."""
    low, high = (price.quantile(q, "lower").over(category) for q in (1 / 3, 2 / 3))
    return (
        pl.when(price.is_null())
        .then(None)
        .when(price <= low)
        .then(pl.lit(BANDS[0]))
        .when(price <= high)
        .then(pl.lit(BANDS[1]))
        .otherwise(pl.lit(BANDS[2]))
    )


def users(
    events: pl.LazyFrame, targets: pl.LazyFrame, catalogue: pl.DataFrame, segments: pl.DataFrame
) -> pl.DataFrame:
    """Everyone with an event, sorted by user_key: contracts.USERS.

    Args:
        catalogue: `item_id`, `category`, `price_band`.
        segments: `user_key`, `segment`.
    """
    span = events.group_by("user_key").agg(
        first_event=pl.col("occurred_at").min(), last_event=pl.col("occurred_at").max()
    )
    counts = targets.group_by("user_key").agg(
        events=pl.len().cast(pl.Int64), items=pl.col("item_id").n_unique().cast(pl.Int64)
    )
    described = targets.select("user_key", "item_id").join(
        catalogue.select("item_id", "category", "price_band").lazy(), on="item_id"
    )
    categories = (
        _ranked(described, "category")
        .group_by("user_key", maintain_order=True)
        .agg(top_categories=pl.col("category").head(TOP_CATEGORIES))
    )
    bands = (
        _ranked(described, "price_band")
        .group_by("user_key", maintain_order=True)
        .agg(price_band=pl.col("price_band").first())
    )
    whole = span
    for part in (counts, categories, bands, segments.lazy()):
        whole = whole.join(part, on="user_key", how="left")
    return (
        whole.with_columns(
            pl.col("events", "items").fill_null(0), pl.col("top_categories").fill_null([])
        )
        .sort("user_key")
        .collect(engine="streaming")
    )


def _ranked(described: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """A user's values of a column, most frequent first, ties by name."""
    return (
        described.filter(pl.col(column).is_not_null())
        .group_by("user_key", column)
        .len()
        .sort("user_key", "len", column, descending=[False, True, False])
    )
