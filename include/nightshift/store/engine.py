"""Reaching the store: SQLAlchemy for statements, ADBC for streams of Arrow batches.

Connections are not pooled: they are few, cost milliseconds, and a pool does not survive the forks
of Airflow's executors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError

from nightshift.errors import SettingsError, StoreError

if TYPE_CHECKING:
    from nightshift.settings import Settings

SCHEMA = "nightshift"
CONNECT_SECONDS = 10
_UNDEFINED = {"42P01", "3F000", "42703"}  # undefined table, schema, column
_UNREACHABLE = ("08", "57P", "28", "3D")  # connection, shutdown, authorisation, no database
_DISK_FULL = "53100"


def url_of(settings: Settings) -> URL:
    """The store's URL; starts the embedded server when no other store is named.

    Raises:
        SettingsError: store.url is not a Postgres URL.
        StoreError: the embedded server does not start.
    """
    if settings.store.url is None:
        from nightshift.store.embedded import ensure_running

        return make_url(ensure_running(settings))
    try:
        url = make_url(settings.store.url.get_secret_value())
    except ArgumentError:
        raise SettingsError("store.url is not a URL.", hint=_EXAMPLE) from None
    if url.get_backend_name() != "postgresql":
        raise SettingsError(
            f"store.url names a {url.get_backend_name()} database; the store is Postgres.",
            hint=_EXAMPLE,
        )
    return url


_EXAMPLE = "such as postgresql+psycopg2://user:password@host:5432/database"


def engine(settings: Settings) -> Engine:
    """An engine whose database errors arrive as StoreError, without the password.

    Raises:
        SettingsError, StoreError: see `url_of`.
    """
    url = url_of(settings)
    try:
        made = create_engine(
            url,
            poolclass=NullPool,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "nightshift",
                "options": "-c timezone=UTC",
            },
        )
    except (NoSuchModuleError, ImportError) as error:
        raise SettingsError(f"store.url: {error}.", hint=_EXAMPLE) from None
    where = url.set(query={}).render_as_string(hide_password=True)

    @event.listens_for(made, "handle_error")
    def _explain(context: Any) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, DBAPIError):
            found = explained(error, where)
            if found is not None:
                raise found from error.orig

    return made


def explained(error: DBAPIError, where: str) -> StoreError | None:
    """What a person needs to hear; None for errors that are a caller's to handle."""
    code = getattr(error.orig, "pgcode", None) or ""
    said = " ".join(str(error.orig).split())
    if code == _DISK_FULL:
        return StoreError(
            "The event store's disk is full.", hint="free space on its disk", store=where
        )
    if isinstance(error, ProgrammingError) and code in _UNDEFINED:
        return StoreError(
            f"The event store lacks something: {said}",
            hint="run `nightshift store migrate`; own views must have the contract's columns",
            store=where,
        )
    unreachable = code.startswith(_UNREACHABLE) if code else type(error).__name__ in _NO_CODE
    if unreachable:
        return StoreError(
            f"The event store cannot be reached: {said}",
            hint="check NIGHTSHIFT_STORE__URL, that the server runs and that it lets you in "
            "(`nightshift doctor`)",
            store=where,
        )
    return None


_NO_CODE = {"OperationalError", "InterfaceError"}  # libpq failed before the server could answer


@contextmanager
def begin(settings: Settings) -> Iterator[Connection]:
    """One transaction, committed at the end."""
    with engine(settings).begin() as connection:
        yield connection
