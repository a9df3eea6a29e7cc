"""Withheld items: no trace in what learns, all their events in what judges."""

from __future__ import annotations

import polars as pl
import pytest
from collecting import collect, execute, morning, morning_events, query, snapshot

from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot


@pytest.fixture
def withholding(small_shop: Settings) -> Settings:
    """With a search and a review for every item."""
    for table, text in (("searches", "query"), ("reviews", "text")):
        key = "search_id" if table == "searches" else "review_id"
        execute(
            small_shop,
            f"insert into nightshift.{table} ({key}, {text}, item_id, occurred_at)"
            " select item_id, 'fine ' || item_id, item_id, '2017-11-01' from nightshift.items",
        )
    return small_shop.with_({"collect": {"withhold": [{"share": 0.1, "salt": 3}]}})


def test_a_withheld_item_leaves_no_trace_but_its_catalogue_row(withholding: Settings) -> None:
    taken = snapshot(withholding)
    hidden = taken.items.filter("withheld")
    ids = hidden["item_id"].implode()

    assert 0.07 < hidden.height / taken.items.height < 0.13
    assert hidden["events"].sum() == hidden["users"].sum() == hidden["events_7d"].sum() == 0
    assert hidden["last_event"].null_count() == hidden["price"].null_count() == hidden.height
    for frame in (taken.events().collect(), taken.searches, taken.reviews):
        assert frame.height > 0
        assert frame.filter(pl.col("item_id").is_in(ids)).is_empty()
    stats = taken.manifest.stats
    assert stats["withheld_items"] == hidden.height
    assert stats["dropped"]["withheld_item"] == _events_of(withholding, hidden["item_id"].to_list())
    assert stats["dropped"]["searches.withheld_item"] == hidden.height


def _events_of(settings: Settings, ids: list[str]) -> int:
    (row,) = query(
        settings,
        "select count(*) from (select distinct user_id, item_id, occurred_at, session_id"
        " from nightshift.events where occurred_at < '2017-11-20 00:00+00'"
        " and item_id = any(:ids)) e",
        ids=ids,
    )
    return int(row[0])


def test_users_of_withheld_items_alone_are_left_out(withholding: Settings) -> None:
    hidden = snapshot(withholding).items.filter("withheld")["item_id"]
    execute(
        withholding,
        "update nightshift.events set user_id = 'only this' where item_id = :item",
        item=hidden[0],
    )
    taken = snapshot(withholding)
    with_events = taken.events().select(pl.col("user_key").unique()).collect()
    assert taken.users.height == with_events.height
    assert taken.users["events"].min() > 0


def test_the_morning_has_the_withheld_items_events(withholding: Settings) -> None:
    hidden = snapshot(withholding).items.filter("withheld")["item_id"].implode()
    events = morning_events(withholding)

    assert events.filter(pl.col("item_id").is_in(hidden)).height > 0
    assert "withheld_item" not in morning(withholding).stats["dropped"]


def test_the_choice_is_seeded_and_adds_up(small_shop: Settings) -> None:
    def hidden(*entries: tuple[float, int]) -> set[str]:
        tree = {
            "collect": {"withhold": [{"share": share, "salt": salt} for share, salt in entries]}
        }
        taken = Snapshot(Lake.of(small_shop), collect(small_shop.with_(tree)))
        return set(taken.items.filter("withheld")["item_id"])

    assert hidden((0.1, 1)) < hidden((0.2, 1))
    assert hidden((0.1, 1)) | hidden((0.1, 2)) == hidden((0.1, 1), (0.1, 2))
    assert hidden((0.1, 1)) != hidden((0.1, 2))
