"""Writing what is live for the shop: staged by COPY, swapped in one transaction."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection, text

from nightshift.settings import Settings
from nightshift.store.ad_copy import LOCK, swap
from nightshift.store.engine import SCHEMA as _SCHEMA
from nightshift.store.engine import begin

log = logging.getLogger("nightshift.publish")

_COLUMNS = {
    "rank": "int",
    "item_id": "text",
    "score": "real",
    "because": "text[]",
    "words": "text[]",
    "shares": "jsonb",
}
"""Of a recommendation in Postgres, beside whose it is."""


def publish(
    settings: Settings,
    recommendations: Iterable[pl.DataFrame],
    *,
    as_of: datetime,
    model: str,
    ad_copy: Callable[[], pl.DataFrame | None] = lambda: None,
    back: bool = False,
    still: Callable[[], bool] = lambda: True,
) -> bool:
    """Replace the live recommendations and the copy beside them, unless newer ones are live.

    Args:
        recommendations: contracts.RECOMMENDATIONS in blocks, of which one is held at a time;
            pseudonyms are joined back to user ids here.
        as_of: the rows know events before this time; what is live only moves forward.
        model: what they were made with, for `nightshift.publication`.
        ad_copy: the night's (`store.ad_copy`), asked once nobody else can publish or retract; None
            leaves what is live.
        back: replace newer ones, too.
        still: asked once nobody else can publish; False leaves everything as it is.

    Returns:
        False when something later is live, or `still` says no: nothing was changed.
    """
    with begin(settings) as connection:
        connection.execute(text(LOCK))
        live = connection.execute(text(f"select as_of from {_SCHEMA}.publication")).scalar()  # noqa: S608
        if not still() or (live is not None and live > as_of and not back):
            return False
        users = _copy(connection, recommendations)
        known = _known(connection)
        columns = ", ".join(known)
        staging, table = f"{_SCHEMA}.recommendations_staging", f"{_SCHEMA}.recommendations"
        connection.execute(text(f"truncate {staging}"))
        connection.execute(
            text(
                f"insert into {staging} (user_id, {columns})"  # noqa: S608
                f" select p.user_id, {', '.join(f's.{name}' for name in known)}"
                f" from scored s join {_SCHEMA}.pseudonyms p using (user_key)"
            )
        )
        # Readers see the old rows until the commit, then the new ones: never a mixture.
        connection.execute(text(f"delete from {table}"))  # noqa: S608
        connection.execute(
            text(
                f"insert into {table} (user_id, {columns})"  # noqa: S608
                f" select user_id, {columns} from {staging}"
            )
        )
        connection.execute(text(f"truncate {staging}"))
        copy = ad_copy()
        if copy is not None:
            swap(connection, copy)
        connection.execute(
            text(
                f"insert into {_SCHEMA}.publication (one, as_of, model, users, published_at)"  # noqa: S608
                " values (true, :as_of, :model, :users, now())"
                " on conflict (one) do update set as_of = excluded.as_of, model = excluded.model,"
                " users = excluded.users, published_at = excluded.published_at"
            ),
            {
                "as_of": as_of,
                "model": model,
                "users": users,
            },
        )
    return True


def blocks_of(path: Path) -> Iterator[pl.DataFrame]:
    """A file of contracts.RECOMMENDATIONS, a row group at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield cast("pl.DataFrame", pl.from_arrow(file.read_row_group(number)))


def _known(connection: Connection) -> list[str]:
    """The columns that the store has: one of an earlier version goes on without the new ones."""
    found = connection.execute(
        text(
            "select column_name from information_schema.columns"
            " where table_schema = :schema and table_name = 'recommendations'"
        ),
        {"schema": _SCHEMA},
    )
    there = set(found.scalars())
    if not there.issuperset(_COLUMNS):
        log.warning("the store keeps no explanations: run `nightshift store migrate`")
    return [name for name in _COLUMNS if name in there]


def _copy(connection: Connection, recommendations: Iterable[pl.DataFrame]) -> int:
    """Into the temporary table `scored`; returns how many users there are."""
    columns = ", ".join(f"{name} {of}" for name, of in _COLUMNS.items())
    connection.execute(
        text(f"create temporary table scored (user_key text, {columns}) on commit drop")
    )
    raw = connection.connection.dbapi_connection
    assert raw is not None
    with closing(raw.cursor()) as cursor:
        for block in recommendations:
            buffer = io.BytesIO()
            _as_text(block).write_csv(buffer, include_header=False)
            buffer.seek(0)
            cast("Any", cursor).copy_expert("copy scored from stdin with (format csv)", buffer)
    return int(connection.execute(text("select count(distinct user_key) from scored")).scalar_one())


def _as_text(block: pl.DataFrame) -> pl.DataFrame:
    """Every column as COPY reads it; what rows of an older version do not say is null."""
    missing = [name for name in _COLUMNS if name not in block.columns]
    whole = block.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    lists = [name for name, of in _COLUMNS.items() if of == "text[]" and name not in missing]
    return whole.with_columns(_array(name) for name in lists).select("user_key", *_COLUMNS)


def _array(name: str) -> pl.Expr:
    """Lists of texts as Postgres writes an array."""
    quoted = (
        pl.element()
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all('"', '\\"', literal=True)
    )
    inside = pl.col(name).list.eval(pl.format('"{}"', quoted)).list.join(",")
    return (pl.lit("{") + inside + pl.lit("}")).alias(name)
