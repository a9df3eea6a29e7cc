"""What a night may see of the store, as row counts and checksums: part of collect's key.

A checksum is the sum of 64-bit row hashes, so it does not depend on order; a row that the night
may not see is not in it. Cheap (one scan of the events) and light (no pyarrow, no Polars).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from nightshift.collect import window
from nightshift.collect.window import EARLIEST, Segment, Window
from nightshift.night import Night
from nightshift.store import pseudonyms
from nightshift.store.engine import begin, engine
from nightshift.store.partitions import month_of

if TYPE_CHECKING:
    from nightshift.settings import Settings

Fingerprint = dict[str, Any]

_SUM = "count(*) || ':' || coalesce(sum(hash_record_extended(row({columns}), 0)), 0)"
_EVENT = (
    "e.user_id, e.item_id, e.kind, e.occurred_at, e.value, e.quantity, e.session_id, "
    "e.recorded_too_early, i.item_id is not null"
)
_ITEM = "item_id, title, description, category, brand, price, listed_at"
_RECORDS = {
    "searches": (window.SEARCHES, "user_id, query, item_id, grade, occurred_at"),
    "reviews": (window.REVIEWS, "user_id, item_id, rating, text, occurred_at"),
}


def before(night: Night, settings: Settings) -> Fingerprint:
    """Of all that lies before the night.

    Raises:
        StoreError: the store cannot be reached or lacks a contract view.
    """
    key_id = _key_id(settings)
    with engine(settings).connect() as connection:
        return {
            "segments": {s.name: sum_ for s, sum_ in segments(connection, night).items()},
            "too_early": too_early(connection),
            "late_rows": late_rows(connection, night),
            "users": _users(connection, night),
            "items": _sum(connection, window.ITEMS, _ITEM, Window.history(night)),
            "shop": shop_row(connection),
            "pseudonyms": key_id,
            **_sums(connection, Window.history(night), undated=True),
        }


def inside(night: Night, settings: Settings) -> Fingerprint:
    """Of the night itself.

    Raises:
        StoreError: see `before`.
    """
    key_id = _key_id(settings)
    seen = Window.morning(night)
    with engine(settings).connect() as connection:
        return {
            "events": connection.scalar(_events_sum("", ""), seen.binds),
            "pseudonyms": key_id,
            **_sums(connection, seen, undated=False),
            "items": _sum(connection, window.ITEMS, "item_id", seen),
        }


def segments(connection: Connection, night: Night) -> dict[Segment, str]:
    """Checksum of every file that the night's snapshot has, in order of time."""
    truncated = """
        case when occurred_at < :month then date_trunc('month', occurred_at, 'UTC')
             else date_trunc('day', occurred_at, 'UTC') end as segment,"""
    rows = connection.execute(
        _events_sum(truncated, "group by segment order by segment"),
        {**Window.history(night).binds, "month": month_of(night.start)},
    )
    return {Segment.at(row.segment, night): row.checksum for row in rows}


def _events_sum(first: str, last: str) -> Any:
    """Events with whether their item is known: that decides whether they are kept."""
    return text(
        f"select {first} {_SUM.format(columns=_EVENT)} as checksum from ({window.EVENTS}) e"  # noqa: S608
        f" left join (select distinct item_id from ({window.ITEMS}) listed) i using (item_id)"
        f" {last}"
    )


def late_rows(connection: Connection, night: Night) -> int:
    """Events from before the night that the store learnt of during it: no part of the snapshot.

    Later than that they no longer concern this night: its snapshot would never be at rest.
    """
    statement = (
        "select count(*) from nightshift.events_v where occurred_at < :start"
        " and recorded_at >= :start and recorded_at < :end"
    )
    found = connection.scalar(text(statement), {"start": night.start, "end": night.end})
    return int(found or 0)


def too_early(connection: Connection) -> int:
    """Events without a time, or from before online shops."""
    statement = (
        "select count(*) from nightshift.events_v where occurred_at is null or occurred_at < :first"
    )
    return int(connection.scalar(text(statement), {"first": EARLIEST}) or 0)


def shop_row(connection: Connection) -> dict[str, Any] | None:
    """What the store says of the shop; None when only views were written."""
    columns = "name, description, repeats, target_kinds, currency"
    row = connection.execute(text(f"select {columns} from nightshift.shop")).first()  # noqa: S608
    return None if row is None else dict(row._mapping)


def first_and_last(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """The span of the store's events."""
    row = connection.execute(
        text("select min(occurred_at), max(occurred_at) from nightshift.events_v")
    ).one()
    return row[0], row[1]


def _sums(connection: Connection, seen: Window, *, undated: bool) -> dict[str, str]:
    return {
        name: _sum(connection, rows + (window.UNDATED if undated else ""), columns, seen)
        for name, (rows, columns) in _RECORDS.items()
    }


def _sum(connection: Connection, rows: str, columns: str, seen: Window) -> str:
    statement = f"select {_SUM.format(columns=columns)} from ({rows}) t"  # noqa: S608
    binds = {name: value for name, value in seen.binds.items() if f":{name}" in statement}
    return str(connection.scalar(text(statement), binds))


def _users(connection: Connection, night: Night) -> str:
    """Segments of users with an event before the night; others are no part of it."""
    statement = f"""
        select {_SUM.format(columns="user_id, segment")}
        from (select user_id::text as user_id, segment::text as segment
              from nightshift.users_v where segment is not null) u
        where exists (select from ({window.EVENTS}) e where e.user_id = u.user_id)"""  # noqa: S608
    return str(connection.scalar(text(statement), Window.history(night).binds))


def _key_id(settings: Settings) -> str:
    with begin(settings) as connection:
        return pseudonyms.keyring(connection, settings).key_id
