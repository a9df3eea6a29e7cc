"""A shop's own files, CSV or Parquet (.gz too), with the contract's column names.

    items     item_id, title; any of description, category, brand, price, currency, listed_at
    events    user_id, item_id, kind, occurred_at; any of event_id, recorded_at, value, quantity,
              session_id
    searches  query; any of user_id, item_id, grade, occurred_at
    reviews   item_id; any of user_id, rating, text, occurred_at
    users     user_id; any of segment

Times are ISO 8601 (no zone: UTC). An event without an id is told apart by its content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from nightshift import contracts
from nightshift.errors import UsageError
from nightshift.store.loaders.source import Dropped, ShopRow, Source, count, existing
from nightshift.store.loaders.tabular import Column, read_table

_ID, _MAYBE_ID = Column("id"), Column("id", optional=True)
_TEXT = Column("text", optional=True)
_NUMBER, _TIME = Column("number", optional=True), Column("time", optional=True)

TABLES: dict[str, dict[str, Column]] = {
    "items": {
        "item_id": _ID,
        "title": Column("text"),
        "description": _TEXT,
        "category": _TEXT,
        "brand": _TEXT,
        "price": _NUMBER,
        "currency": _TEXT,
        "listed_at": _TIME,
    },
    "users": {"user_id": _ID, "segment": _TEXT},
    "events": {
        "event_id": _MAYBE_ID,
        "user_id": _ID,
        "item_id": _ID,
        "kind": Column("id", values=contracts.EVENT_KINDS),
        "occurred_at": Column("time"),
        "recorded_at": _TIME,
        "value": _NUMBER,
        "quantity": _NUMBER,
        "session_id": _MAYBE_ID,
    },
    "searches": {
        "user_id": _MAYBE_ID,
        "query": _ID,
        "item_id": _MAYBE_ID,
        "grade": _NUMBER,
        "occurred_at": _TIME,
    },
    "reviews": {
        "user_id": _MAYBE_ID,
        "item_id": _ID,
        "rating": _NUMBER,
        "text": _TEXT,
        "occurred_at": _TIME,
    },
}


def read(
    *,
    items: Path | str,
    events: Path | str,
    users: Path | str | None = None,
    searches: Path | str | None = None,
    reviews: Path | str | None = None,
    name: str = "shop",
    description: str = "",
    currency: str | None = None,
    repeats: bool = False,
    target_kinds: str = "purchase",
    unknown_items: str = "error",
) -> Source:
    """The shop in these files; they are read while they are copied.

    Raises:
        BadInput: a file or column is missing, or a value is wrong (file, row, column).
        UsageError: a target kind that is no kind of event.
    """
    kinds = tuple(kind.strip() for kind in target_kinds.split(",") if kind.strip())
    unknown = set(kinds) - set(contracts.EVENT_KINDS)
    if unknown or not kinds:
        raise UsageError(
            f"{', '.join(sorted(unknown)) or 'Nothing'} is no kind of event.",
            hint=f"--target-kinds: any of {', '.join(contracts.EVENT_KINDS)}",
        )
    given = {
        "items": items,
        "users": users,
        "events": events,
        "searches": searches,
        "reviews": reviews,
    }
    paths = {table: existing(path) for table, path in given.items() if path is not None}
    changed: Dropped = {}
    return Source(
        shop=ShopRow(name, description, repeats, kinds, currency),
        tables={table: _frames(table, path, changed) for table, path in paths.items()},
        origins={table: str(path) for table, path in paths.items()},
        changed=changed,
        drop_unknown_items=unknown_items == "drop",
    )


def _frames(table: str, path: Path, changed: Dropped) -> Iterator[pl.DataFrame]:
    columns: Mapping[str, Column] = TABLES[table]

    def cut(column: str, rows: int) -> None:
        count(changed, table, f"{column}_cut", rows)

    yield from read_table(path, columns, cut=cut)
