"""What the event store of this machine holds, as far as starting Airflow needs to know."""

from __future__ import annotations

from datetime import date

from sqlalchemy import text

from nightshift.settings import Settings


def shop_of(settings: Settings) -> str | None:
    """The name of the shop in the store, its schema up to date; None when there is none."""
    from nightshift.store import schema
    from nightshift.store.engine import begin

    schema.migrate(settings)
    with begin(settings) as connection:
        name = connection.execute(text("select name from nightshift.shop")).scalar()
    return None if name is None else str(name)


def last_day(settings: Settings) -> date | None:
    """The UTC day of the shop's last event; None without events."""
    from nightshift.store.engine import begin

    last = "select max(occurred_at at time zone 'utc')::date from nightshift.events_v"
    with begin(settings) as connection:
        found: date | None = connection.execute(text(last)).scalar()
    return found
