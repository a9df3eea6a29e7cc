"""The advertising copy that is live: `nightshift.ad_copy`, which a shop reads or exports.

It is swapped with the recommendations, in the same transaction (`publish`): what is there belongs
to one night. A line that goes on being live keeps the time when it first was.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from contextlib import closing
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection, text

from nightshift.settings import Settings
from nightshift.store.engine import SCHEMA, begin

TABLE = f"{SCHEMA}.ad_copy"
WRITTEN = {
    "sample_id": pl.String,
    "item_id": pl.String,
    "segment": pl.String,
    "text": pl.String,
    "night": pl.String,
    "model": pl.String,
}
"""What a swap is given; `made_at` is the table's own."""
LOCK = f"lock table {SCHEMA}.publication in exclusive mode"
"""Who publishes or retracts waits for whoever does: the later one sees what the first has done."""


def swap(connection: Connection, rows: pl.DataFrame) -> None:
    """Let these be the live rows; readers see the old ones until the caller commits.

    Args:
        rows: columns WRITTEN; `sample_id` is unique.
    """
    there = connection.execute(text(f"select to_regclass('{TABLE}')")).scalar()
    if there is None and rows.is_empty():
        return  # a store that was not migrated since, of a shop that writes none
    columns = ", ".join(WRITTEN)
    connection.execute(
        text(f"create temporary table written ({' text, '.join(WRITTEN)} text) on commit drop")
    )
    buffer = io.BytesIO()
    rows.select(list(WRITTEN)).write_csv(buffer, include_header=False)
    buffer.seek(0)
    raw = connection.connection.dbapi_connection
    assert raw is not None
    with closing(raw.cursor()) as cursor:
        cast("Any", cursor).copy_expert("copy written from stdin with (format csv)", buffer)
    connection.execute(
        text(
            f"delete from {TABLE} a"  # noqa: S608
            " where not exists (select from written w where w.sample_id = a.sample_id)"
        )
    )
    connection.execute(
        text(
            f"insert into {TABLE} ({columns}, made_at) select {columns}, now() from written"  # noqa: S608
            " on conflict (sample_id) do update set night = excluded.night,"
            " segment = excluded.segment, model = excluded.model"
        )
    )


def withdraw(settings: Settings, sample_ids: Collection[str]) -> int:
    """Take these out of what is live, at once; returns how many were.

    Raises:
        StoreError: the store cannot be reached, or has no such table.
    """
    with begin(settings) as connection:
        connection.execute(text(LOCK))
        gone = connection.execute(
            text(f"delete from {TABLE} where sample_id = any(:ids)"),  # noqa: S608
            {"ids": sorted(sample_ids)},
        )
        return int(gone.rowcount)


def read(
    settings: Settings, *, item: str | None = None, segment: str | None = None
) -> pl.DataFrame:
    """What is live, by item: columns WRITTEN and `made_at`.

    Raises:
        StoreError: see `withdraw`.
    """
    with begin(settings) as connection:
        found = connection.execute(
            text(
                f"select {', '.join(WRITTEN)}, made_at from {TABLE}"  # noqa: S608
                " where (cast(:item as text) is null or item_id = :item)"
                " and (cast(:segment as text) is null or segment = :segment)"
                " order by item_id, segment nulls first, sample_id"
            ),
            {"item": item, "segment": segment},
        ).all()
    schema = WRITTEN | {"made_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame([tuple(row) for row in found], schema=schema, orient="row")
