"""The morning after: everything of the night, nothing else, known or not before."""

from __future__ import annotations

from collecting import NIGHT, add_item, collect, morning, morning_events, plant, query

from nightshift.collect import fingerprint
from nightshift.night import Night
from nightshift.settings import Settings


def test_it_holds_the_events_of_the_night(small_shop: Settings) -> None:
    collect(small_shop)
    events = morning_events(small_shop)
    wanted = query(
        small_shop,
        "select distinct p.user_key, item_id, occurred_at from nightshift.events"
        " join nightshift.pseudonyms p using (user_id)"
        " where occurred_at >= '2017-11-20 00:00+00' and occurred_at < '2017-11-21 00:00+00'",
    )
    found = events.select("user_key", "item_id", "occurred_at").unique().rows()
    assert sorted(found) == sorted(wanted)
    stats = morning(small_shop).stats
    assert stats["events"] == events.height > 100
    assert stats["users"] == events["user_key"].n_unique()


def test_new_users_and_new_items_are_in_it(small_shop: Settings) -> None:
    add_item(small_shop, "new", listed_at="2017-11-20 06:00+00")
    plant(small_shop, user_id="newcomer", item_id="new", occurred_at="2017-11-20 09:00+00")
    snapshot = collect(small_shop)

    stats = morning(small_shop).stats

    assert snapshot.stats["dropped"] == {}
    assert stats["events_of_new_items"] == 1
    assert morning_events(small_shop).filter(item_id="new").height == 1
    ((key,),) = query(
        small_shop, "select user_key from nightshift.pseudonyms where user_id = 'newcomer'"
    )
    assert morning_events(small_shop).filter(item_id="new")["user_key"].to_list() == [key]


def test_rows_learnt_of_after_the_night_are_not_in_it(small_shop: Settings) -> None:
    collect(small_shop)
    before, made = fingerprint.inside(NIGHT, small_shop), morning(small_shop)
    plant(small_shop, occurred_at="2017-11-20 09:00+00", recorded_at="2017-11-21 00:00+00")
    plant(small_shop, occurred_at="2017-11-21 00:00+00")
    assert fingerprint.inside(NIGHT, small_shop) == before
    assert morning(small_shop).digest == made.digest

    plant(small_shop, occurred_at="2017-11-20 09:00+00", recorded_at="2017-11-20 23:00+00")
    assert morning(small_shop).stats["events"] == made.stats["events"] + 1


def test_a_day_without_events_is_an_empty_morning(small_shop: Settings) -> None:
    empty = Night.parse("2017-12-24")
    collect(small_shop, empty)

    stats = morning(small_shop, empty).stats

    assert (stats["events"], stats["users"], stats["searches"]) == (0, 0, 0)
    assert morning_events(small_shop, empty).columns[0] == "user_key"
