"""The event store and the lake: can they be reached, read, written."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nightshift.commands.checks import FAIL, OK, WARN, Finding
from nightshift.errors import NightshiftError
from nightshift.lake import Lake
from nightshift.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLOCK_WARN_SECONDS = 30.0  # leases expire after 90 s: clocks must agree much better than that
OLDEST_POSTGRES = 14  # hash_record_extended, which fingerprints rows
PROBES = "_doctor"
# What `collect` reads of each contract view.
VIEWS = {
    "items_v": ("item_id", "title", "description", "category", "brand", "price", "listed_at"),
    "users_v": ("user_id", "segment"),
    "events_v": (
        "event_id",
        "user_id",
        "item_id",
        "kind",
        "occurred_at",
        "recorded_at",
        "value",
        "quantity",
        "session_id",
    ),
    "searches_v": ("user_id", "query", "item_id", "grade", "occurred_at"),
    "reviews_v": ("user_id", "item_id", "rating", "text", "occurred_at"),
}


def store(settings: Settings) -> Iterator[Finding]:
    """Reachable, its version, schema and views, and whether its clock agrees with ours."""
    from nightshift.store import embedded

    if settings.store.url is not None:
        yield from _ask_store(settings)
        return
    if not (embedded.folder(settings) / "data").exists():
        hint = "`nightshift load complete-journey` makes one, or set NIGHTSHIFT_STORE__URL"
        yield Finding(WARN, "store", "embedded, not made yet", hint)
        return
    try:
        started = embedded.start(settings)
    except NightshiftError as error:
        yield Finding(FAIL, "store", error.message, error.hint)
        return
    try:
        yield from _ask_store(settings, " (embedded)")
    finally:
        if started:  # leave it as it was found
            embedded.stop(settings)


def _ask_store(settings: Settings, kind: str = "") -> Iterator[Finding]:
    from sqlalchemy import text

    from nightshift.store.engine import engine, url_of

    begun = time.monotonic()
    try:
        where = url_of(settings).set(query={}).render_as_string(hide_password=True)
        with engine(settings).connect() as connection:
            milliseconds = 1000 * (time.monotonic() - begun)
            number = int(connection.scalar(text("show server_version_num")) or 0) // 10_000
            old = number < OLDEST_POSTGRES
            yield Finding(
                FAIL if old else OK,
                "store",
                f"{where}{kind}: PostgreSQL {number}, {milliseconds:.0f} ms",
                f"PostgreSQL {OLDEST_POSTGRES} or newer is needed" if old else "",
            )
            yield from _clock(connection)
            yield from _schema(connection)
    except NightshiftError as error:
        yield Finding(FAIL, "store", error.message, error.hint)


def _clock(connection: Connection) -> Iterator[Finding]:
    from sqlalchemy import text

    theirs = connection.scalar(text("select clock_timestamp()"))
    assert isinstance(theirs, datetime)
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    bad = skew > CLOCK_WARN_SECONDS
    yield Finding(
        WARN if bad else OK,
        "clock",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {skew:.1f} s from the store's",
        "set both clocks by NTP: leases and late rows go by them" if bad else "",
    )


def _schema(connection: Connection) -> Iterator[Finding]:
    """The five contract views with their columns; who made them does not matter."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "select table_name, column_name from information_schema.columns"
            " where table_schema = 'nightshift'"
        )
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    missing = [view for view in VIEWS if view not in found]
    lacking = [
        f"{view}.{column}"
        for view, columns in VIEWS.items()
        if view in found
        for column in columns
        if column not in found[view]
    ]
    if missing or lacking:
        yield Finding(
            FAIL,
            "views",
            f"missing: {', '.join([*missing, *lacking])}",
            "run `nightshift store migrate`, or add them to your own views",
        )
    else:
        yield Finding(OK, "views", f"{', '.join(VIEWS)}: all columns are there")


def lake(settings: Settings) -> tuple[Lake | None, list[Finding]]:
    """Open it, and write, create conditionally, read back and remove a probe."""
    begun = time.monotonic()
    try:
        opened = Lake.of(settings)
        found = _probe(opened)
    except NightshiftError as error:
        return None, [Finding(FAIL, "lake", error.message, error.hint)]
    except OSError as error:  # a root without permission, say
        hint = "check lake.root and who may write there"
        return None, [Finding(FAIL, "lake", f"{settings.lake_root}: {error}", hint)]
    if found is not None:
        return opened, [found]
    seconds = time.monotonic() - begun
    detail = f"{opened.root}: writable, conditional create works, {1000 * seconds:.0f} ms"
    return opened, [Finding(OK, "lake", detail)]


def _probe(opened: Lake) -> Finding | None:
    """What is wrong, or None; the probe is gone afterwards."""
    path, data = f"{PROBES}/{uuid.uuid4().hex}.json", b'{"probe": true}'
    try:
        if not opened.create(path, data) or opened.read_bytes(path) != data:
            hint = "check the credentials: the probe was written and not read back"
            return Finding(FAIL, "lake", f"{opened.root}: what is written is not there", hint)
        if opened.create(path, b"second"):
            return Finding(
                FAIL,
                "lake",
                f"{opened.root}: a conditional create replaced an object",
                "leases need If-None-Match: use an S3 server that honours it",
            )
    finally:
        opened.delete(path)
    if opened.read_bytes(path) is not None:
        return Finding(WARN, "lake", f"{opened.root}: {path} could not be removed", "remove it")
    return None
