"""A night sees what was known before it started, and nothing else leaves a trace."""

from __future__ import annotations

import polars as pl
import pytest
from collecting import (
    FIRST_ITEM,
    NIGHT,
    OLD_EVENT,
    add_item,
    add_review,
    add_search,
    another_lake,
    collect,
    execute,
    plant,
    snapshot,
)

from nightshift.collect import fingerprint
from nightshift.night import Night
from nightshift.settings import Settings

LATER = {
    "an event inside the night": {"occurred_at": "2017-11-20 00:00:00+00"},
    "an event of a new user": {"occurred_at": "2017-11-20 09:00+00", "user_id": "newcomer"},
    "an event long after": {"occurred_at": "2017-11-28 09:00+00"},
    "an old event learnt of after the night": {"recorded_at": "2017-11-25 00:00+00"},
}


def test_later_events_change_neither_fingerprint_nor_digest(small_shop: Settings) -> None:
    before, made = fingerprint.before(NIGHT, small_shop), collect(small_shop)

    for what, event in LATER.items():
        plant(small_shop, **event)
        assert fingerprint.before(NIGHT, small_shop) == before, what

    assert collect(another_lake(small_shop)).digest == made.digest


def test_later_items_users_searches_and_reviews_leave_no_trace(small_shop: Settings) -> None:
    made = collect(small_shop)
    add_item(small_shop, "new", listed_at="2017-11-20 00:00+00")
    execute(small_shop, "insert into nightshift.users values ('newcomer', 'guest')")
    add_search(small_shop, "lamp", at="2017-11-20 00:00+00")
    add_review(small_shop, "good", at="2017-11-21 00:00+00")

    assert collect(another_lake(small_shop)).digest == made.digest

    next_night = snapshot(small_shop, Night.parse("2017-11-21"))
    assert "new" in next_night.items["item_id"]
    assert next_night.searches["query"].to_list() == ["lamp"]


def test_an_earlier_event_changes_both(small_shop: Settings) -> None:
    before, made = fingerprint.before(NIGHT, small_shop), collect(small_shop)

    plant(small_shop, occurred_at="2017-11-19 23:59:59.999999+00")

    after = fingerprint.before(NIGHT, small_shop)
    changed = {
        name for name in after["segments"] if after["segments"][name] != before["segments"][name]
    }
    assert changed == {"events/2017-11-19.parquet"}
    assert collect(small_shop).digest != made.digest


@pytest.mark.parametrize(
    "change",
    [
        f"update nightshift.events set value = value + 1 where {OLD_EVENT}",
        f"delete from nightshift.events where {OLD_EVENT}",
        f"update nightshift.items set title = 'Renamed' where {FIRST_ITEM}",
        "update nightshift.shop set repeats = false",
    ],
    ids=["value", "deleted", "title", "shop"],
)
def test_a_change_of_what_the_night_may_see_makes_collect_run_again(
    small_shop: Settings, change: str
) -> None:
    before = fingerprint.before(NIGHT, small_shop)
    execute(small_shop, change)
    assert fingerprint.before(NIGHT, small_shop) != before


def test_rows_learnt_of_during_the_night_are_counted_and_wait_for_the_next(
    small_shop: Settings,
) -> None:
    on_time = snapshot(small_shop)
    plant(small_shop, recorded_at="2017-11-20 01:00+00")

    late = snapshot(small_shop)

    assert on_time.manifest.stats["late_rows"] == 0
    assert late.manifest.stats["late_rows"] == 1
    assert late.events().collect().equals(on_time.events().collect())
    tomorrow = snapshot(small_shop, Night.parse("2017-11-21"))
    noon = tomorrow.events().filter(
        pl.col("occurred_at") == pl.datetime(2017, 11, 15, 12, time_zone="UTC")
    )
    assert noon.filter(pl.col("value") == 1.0, pl.col("session_id").is_null()).collect().height == 1


def test_items_without_a_listing_date_are_counted_as_a_risk(small_shop: Settings) -> None:
    execute(small_shop, f"update nightshift.items set listed_at = '2017-01-01' where {FIRST_ITEM}")
    stats = collect(small_shop).stats
    assert stats["undated_items"] == stats["items"] - 1


def test_a_second_empty_lake_gives_the_same_digests(small_shop: Settings) -> None:
    one, other = collect(small_shop), collect(another_lake(small_shop))
    assert (one.key, one.digest) == (other.key, other.digest)
    assert [f.sha256 for f in one.files] == [f.sha256 for f in other.files]
