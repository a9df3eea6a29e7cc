"""Running collect and morning, planting rows, reading what came out."""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import text

from nightshift import stages
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot
from nightshift.store.engine import begin

NIGHT = Night.parse("2017-11-20")


def collect(settings: Settings, night: Night = NIGHT) -> Manifest:
    return stages.run("collect", night, settings).manifest


def morning(settings: Settings, night: Night = NIGHT) -> Manifest:
    return stages.run("morning", night, settings).manifest


def snapshot(settings: Settings, night: Night = NIGHT) -> Snapshot:
    return Snapshot(Lake.of(settings), collect(settings, night))


def morning_events(settings: Settings, night: Night = NIGHT) -> pl.DataFrame:
    return Lake.of(settings).read(morning(settings, night), "events.parquet")


def another_lake(settings: Settings, name: str = "other") -> Settings:
    """The same store, an empty lake."""
    return settings.with_({"lake": {"root": (settings.home_path / name).as_uri()}})


def execute(settings: Settings, statement: str, **binds: Any) -> None:
    with begin(settings) as connection:
        connection.execute(text(statement), binds)


def query(settings: Settings, statement: str, **binds: Any) -> list[tuple[Any, ...]]:
    with begin(settings) as connection:
        return [tuple(row) for row in connection.execute(text(statement), binds)]


def plant(settings: Settings, **columns: Any) -> None:
    """One event; what is not said is taken from an event of the store."""
    (row,) = query(
        settings,
        "select user_id, item_id from nightshift.events order by occurred_at, event_id limit 1",
    )
    event = {
        "event_id": f"planted {sorted(columns.items())}",
        "user_id": row[0],
        "item_id": row[1],
        "kind": "purchase",
        "occurred_at": "2017-11-15 12:00+00",
        "recorded_at": None,
        "value": 1.0,
        "quantity": 1.0,
        "session_id": None,
        **columns,
    }
    names = ", ".join(event)
    values = ", ".join(f":{name}" for name in event)
    execute(settings, f"insert into nightshift.events ({names}) values ({values})", **event)


FIRST_ITEM = "item_id = (select min(item_id) from nightshift.items)"
OLD_EVENT = """event_id = (
    select min(event_id) from nightshift.events where occurred_at < '2017-11-01 00:00+00')"""


def add_item(settings: Settings, item_id: str, *, listed_at: str | None = None) -> None:
    execute(
        settings,
        "insert into nightshift.items (item_id, title, listed_at) values (:id, 'Lamp', :at)",
        id=item_id,
        at=listed_at,
    )


def add_search(
    settings: Settings, words: str, *, at: str | None, item_id: str | None = None, key: str = ""
) -> None:
    execute(
        settings,
        "insert into nightshift.searches (search_id, user_id, query, item_id, occurred_at)"
        " values (:key, '1', :words, :item, :at)",
        key=key or words,
        words=words,
        item=item_id,
        at=at,
    )


def add_review(settings: Settings, words: str, *, at: str | None) -> None:
    """Of the first item."""
    execute(
        settings,
        "insert into nightshift.reviews (review_id, item_id, text, occurred_at)"
        " select :words, min(item_id), :words, :at from nightshift.items",
        words=words,
        at=at,
    )
