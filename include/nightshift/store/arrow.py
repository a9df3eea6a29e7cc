"""Streams of Arrow batches out of the store, through ADBC's binary COPY.

Memory stays flat: libpq hands over row by row, ADBC a batch of about 16 MB at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from nightshift.errors import StoreError
from nightshift.store.engine import url_of

if TYPE_CHECKING:
    from nightshift.settings import Settings

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def literal(statement: str, **binds: Any) -> str:
    """The statement with its parameters as literals: COPY takes none."""
    named = text(statement).bindparams(**binds)
    return str(named.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


class Session:
    """One repeatable-read transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(self, statement: str, **binds: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(literal(statement, **binds))

    def batches(self, statement: str, **binds: Any) -> Iterator[pa.RecordBatch]:
        """The rows of a query. Numeric columns must be cast in it: Arrow gets them as text."""
        with self._connection.cursor() as cursor:
            cursor.execute(literal(statement, **binds))
            yield from cursor.fetch_record_batch()

    def table(self, statement: str, **binds: Any) -> pa.Table:
        """All rows of a query that is known to be small."""
        with self._connection.cursor() as cursor:
            cursor.execute(literal(statement, **binds))
            return cursor.fetch_arrow_table()


@contextmanager
def session(settings: Settings, *, snapshot: str | None = None) -> Iterator[Session]:
    """A transaction that sees one state of the store; nothing of it is kept.

    Args:
        snapshot: of `pg_export_snapshot()` in another open transaction: see what that one sees.

    Raises:
        StoreError: the store cannot be reached or a query failed.
    """
    url = url_of(settings)
    where = url.set(query={}).render_as_string(hide_password=True)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with adbc.connect(plain, autocommit=False) as connection:
            opened = Session(connection)
            opened.run("set transaction isolation level repeatable read")
            if snapshot is not None:
                opened.run("set transaction snapshot :snapshot", snapshot=snapshot)
            try:
                yield opened
            finally:
                connection.rollback()
    except adbc_driver_manager.Error as error:
        said = " ".join(str(error).split())
        raise StoreError(
            f"Reading the event store failed: {said}",
            hint="check the store and, if they are your own, the contract views "
            "(`nightshift doctor`)",
            store=where,
        ) from error
