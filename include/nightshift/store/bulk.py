"""Idempotent bulk loading: COPY into a staging table, then INSERT … ON CONFLICT.

Frames are copied one after the other, so memory is flat in the number of rows. A row that the
store holds already changes nothing; one that stands in for an older one (an item with a new
price) updates it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg2  # type: ignore[import-untyped]
from sqlalchemy import Connection, text

from nightshift.errors import BadInput, StoreError
from nightshift.store import partitions

_NUMBER, _TEXT, _TIME = "float8", "text", "timestamptz"
_CSV_TIME = "%Y-%m-%dT%H:%M:%S%.6f+00"


@dataclass(frozen=True, slots=True)
class Table:
    """How rows of one table are told apart and merged."""

    name: str
    columns: Mapping[str, str]
    """Name → type in the staging table."""
    key: str
    hashed: tuple[str, ...] = ()
    """Columns whose content hash is the key of a row that brings none."""
    updates: bool = False
    """Does a newer row with the same key replace the older one?"""


ITEMS = Table(
    "items",
    {
        "item_id": _TEXT,
        "title": _TEXT,
        "description": _TEXT,
        "category": _TEXT,
        "brand": _TEXT,
        "price": _NUMBER,
        "currency": _TEXT,
        "listed_at": _TIME,
    },
    key="item_id",
    updates=True,
)
USERS = Table("users", {"user_id": _TEXT, "segment": _TEXT}, key="user_id", updates=True)
EVENTS = Table(
    "events",
    {
        "event_id": _TEXT,
        "user_id": _TEXT,
        "item_id": _TEXT,
        "kind": _TEXT,
        "occurred_at": _TIME,
        "recorded_at": _TIME,
        "value": _NUMBER,
        "quantity": _NUMBER,
        "session_id": _TEXT,
    },
    key="event_id, occurred_at",
    hashed=("user_id", "item_id", "kind", "occurred_at", "value", "quantity", "session_id"),
)
SEARCHES = Table(
    "searches",
    {
        "search_id": _TEXT,
        "user_id": _TEXT,
        "query": _TEXT,
        "item_id": _TEXT,
        "grade": _NUMBER,
        "occurred_at": _TIME,
    },
    key="search_id",
    hashed=("user_id", "query", "item_id", "grade", "occurred_at"),
)
REVIEWS = Table(
    "reviews",
    {
        "review_id": _TEXT,
        "user_id": _TEXT,
        "item_id": _TEXT,
        "rating": _NUMBER,
        "text": _TEXT,
        "occurred_at": _TIME,
    },
    key="review_id",
    hashed=("user_id", "item_id", "rating", "text", "occurred_at"),
)
_HAS_ITEM = {"events", "reviews"}  # a search may lead to nothing


class Loading:
    """One table being loaded, in the caller's transaction."""

    def __init__(
        self, connection: Connection, table: Table, *, origin: str, drop_unknown: bool = False
    ) -> None:
        self.connection, self.table = connection, table
        self.origin, self.drop_unknown = origin, drop_unknown
        self.read = self.loaded = self.updated = self.unknown = 0
        columns = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
        self._run(f"create temporary table stage_{table.name} (row bigint, {columns})")

    def add(self, frame: pl.DataFrame) -> None:
        """Copy and merge some rows; `row`, if there, numbers them for error messages.

        Raises:
            BadInput: an event or review of an item that the store does not know.
        """
        table = self.table
        self._run(f"truncate stage_{table.name}")
        self._copy(frame)
        if table.name == "events":
            months = frame["occurred_at"].dt.truncate("1mo").unique().dt.replace_time_zone("UTC")
            partitions.ensure(self.connection, months.to_list())
        self._check_items()
        inserted, updated = self._merge()
        self.read += frame.height
        self.loaded += inserted
        self.updated += updated

    def finish(self) -> dict[str, int]:
        """Counts: what was read is loaded, updated, already there, or of unknown items."""
        self._run(f"drop table stage_{self.table.name}")
        counts = {"read": self.read, "loaded": self.loaded}
        if self.table.updates:
            counts["updated"] = self.updated
        counts["already_there"] = self.read - self.loaded - self.updated - self.unknown
        return counts

    def _run(self, statement: str) -> Any:
        return self.connection.execute(text(statement))

    def _copy(self, frame: pl.DataFrame) -> None:
        columns = ["row", *self.table.columns]
        buffer = io.BytesIO()
        frame.select(
            pl.col(name) if name in frame.columns else pl.lit(None).alias(name) for name in columns
        ).write_csv(buffer, include_header=False, datetime_format=_CSV_TIME)
        buffer.seek(0)
        driver = self.connection.connection.driver_connection
        assert driver is not None
        try:
            with driver.cursor() as cursor:
                cursor.copy_expert(
                    f"copy stage_{self.table.name} ({', '.join(columns)}) from stdin (format csv)",
                    buffer,
                )
        except psycopg2.Error as error:
            said = " ".join(str(error).split())
            raise StoreError(
                f"Copying {self.table.name} into the event store failed: {said}",
                hint="is its disk full, or did the connection break? Load again: nothing was kept",
                file=self.origin,
            ) from error

    def _check_items(self) -> None:
        if self.table.name not in _HAS_ITEM:
            return
        stage = f"stage_{self.table.name}"
        known = "select from nightshift.items i where i.item_id = s.item_id"
        if self.drop_unknown:
            self.unknown += self._run(
                f"delete from {stage} s where not exists ({known})"  # noqa: S608
            ).rowcount
            return
        first = self._run(
            f"select row, item_id from {stage} s where not exists ({known})"  # noqa: S608
            " order by row limit 1"
        ).first()
        if first is not None:
            raise BadInput(
                f"The item {first.item_id!r} is not in the catalogue.",
                hint="add it to the items, or count and leave out such rows: --unknown-items drop",
                file=self.origin,
                row=first.row,
                column="item_id",
            )

    def _merge(self) -> tuple[int, int]:
        """Rows inserted and rows updated."""
        table, stage = self.table, f"stage_{self.table.name}"
        names = ", ".join(table.columns)
        picked = names
        if table.hashed:
            own = next(iter(table.columns))
            digest = f"md5(row({', '.join(table.hashed)})::text)"
            picked = names.replace(own, f"coalesce({own}, {digest})", 1)
        if not table.updates:
            done = self._run(
                f"insert into nightshift.{table.name} ({names})"  # noqa: S608 names of ours
                f" select {picked} from {stage} on conflict do nothing"
            )
            return int(done.rowcount), 0
        others = [name for name in table.columns if name != table.key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in others)
        old, new = (", ".join(f"{t}.{name}" for name in others) for t in ("t", "excluded"))
        # xmax is 0 in a row that this statement inserted. Of rows with one key the last counts.
        row = self._run(
            f"with merged as (insert into nightshift.{table.name} as t ({names})"  # noqa: S608
            f" select distinct on ({table.key}) {picked} from {stage}"
            f" order by {table.key}, row desc nulls last"
            f" on conflict ({table.key}) do update set {changes}"
            f" where ({old}) is distinct from ({new}) returning (xmax = 0) as fresh)"
            " select count(*) filter (where fresh), count(*) filter (where not fresh) from merged"
        ).one()
        return int(row[0]), int(row[1])
