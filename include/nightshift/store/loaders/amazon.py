"""Amazon reviews (McAuley): who reviewed what when, and titles.

    interactions  user_id, item_id, timestamp (seconds since 1970), any of rating
    items         item_id, title, any of description, category, brand, price

A review stands for a purchase. Times are by the day; collect breaks their ties by a seeded shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from nightshift.store.loaders.source import ShopRow, Source
from nightshift.store.loaders.tabular import Column, read_table
from nightshift.store.markup import unescape

SHOP = ShopRow(
    name="amazon",
    description="Amazon reviews (McAuley): each review is taken for a purchase.",
    repeats=False,  # a product is reviewed once
    target_kinds=("purchase",),
    currency="USD",
)
INTERACTIONS = {
    "user_id": Column("id"),
    "item_id": Column("id"),
    "timestamp": Column("seconds"),
}
ITEMS = {
    "item_id": Column("id"),
    "title": Column("text"),
    "description": Column("text", optional=True),
    "category": Column("text", optional=True),
    "brand": Column("text", optional=True),
    "price": Column("number", optional=True),
}


def read(*, interactions: Path | str, items: Path | str) -> Source:
    """The shop in these two files.

    Raises:
        BadInput: a file or column is missing, or a value cannot be read (file, row, column).
    """
    return Source(
        shop=SHOP,
        tables={"items": _items(items), "events": _events(interactions)},
        origins={"items": str(items), "events": str(interactions)},
    )


def _items(path: Path | str) -> Iterator[pl.DataFrame]:
    for frame in read_table(path, ITEMS):
        texts = [
            name for name in ("title", "description", "category", "brand") if name in frame.columns
        ]
        yield frame.with_columns(unescape(frame[name]) for name in texts)


def _events(path: Path | str) -> Iterator[pl.DataFrame]:
    for frame in read_table(path, INTERACTIONS):
        yield frame.select(
            "row",
            "user_id",
            "item_id",
            kind=pl.lit("purchase"),
            occurred_at="timestamp",
        )
