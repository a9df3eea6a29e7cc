"""The monthly partitions of `events`, made when the first row of a month comes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, text


def month_of(moment: datetime) -> datetime:
    """The first instant of the UTC month."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def following(month: datetime) -> datetime:
    """The first instant of the next month."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def ensure(connection: Connection, months: Iterable[datetime]) -> int:
    """Make the partitions of these months that are missing; how many there were to make."""
    made = 0
    for month in sorted({month_of(moment) for moment in months}):
        name = f"nightshift.events_{month.year:04}_{month.month:02}"
        if connection.execute(text("select to_regclass(:name)"), {"name": name}).scalar():
            continue
        connection.execute(
            text(
                f"create table if not exists {name} partition of nightshift.events"
                f" for values from ('{month.isoformat()}') to ('{following(month).isoformat()}')"
            )
        )
        made += 1
    return made
