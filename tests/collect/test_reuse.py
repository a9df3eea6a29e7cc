"""Incremental: a file that did not change since an earlier night is shared, not copied."""

from __future__ import annotations

from collecting import another_lake, collect, plant

from nightshift.lake import Lake
from nightshift.night import Night, parse_time
from nightshift.settings import Settings

TOMORROW = Night.parse("2017-11-21")


def _paths(settings: Settings, night: Night) -> dict[str, str]:
    return {entry.name: entry.path for entry in collect(settings, night).named("events/")}


def test_the_next_night_copies_one_day(small_shop: Settings) -> None:
    first = {entry.name: entry.path for entry in collect(small_shop).named("events/")}
    second = _paths(small_shop, TOMORROW)

    new = {name for name in second if second[name] != first.get(name)}
    assert new == {"events/2017-11-20.parquet"}


def test_the_inner_nights_of_tuning_do_not_stand_between(small_shop: Settings) -> None:
    """Their names sort behind the nights', and they withhold items: they share nothing."""
    first = {entry.name: entry.path for entry in collect(small_shop).named("events/")}
    withheld = small_shop.with_({"collect": {"withhold": [{"share": 0.1, "salt": 3}]}})
    for day in ("2017-11-10", "2017-11-11", "2017-11-12"):
        start = parse_time(day)
        collect(withheld, Night(start, parse_time("2017-11-20"), inner=True))

    second = _paths(small_shop, TOMORROW)

    assert {name for name in second if second[name] != first.get(name)} == {
        "events/2017-11-20.parquet"
    }


def test_a_night_of_the_past_shares_with_the_nights_around_it(small_shop: Settings) -> None:
    later = _paths(small_shop, Night.parse("2017-11-25"))
    earlier = _paths(small_shop, Night.parse("2017-11-20"))

    assert set(earlier.items()) <= set(later.items())


def test_shared_files_are_what_copying_gives(small_shop: Settings) -> None:
    collect(small_shop)
    shared = collect(small_shop, TOMORROW)
    copied = collect(another_lake(small_shop), TOMORROW)
    assert shared.digest == copied.digest
    assert shared.stats == copied.stats


def test_a_day_with_a_late_row_is_copied_again(small_shop: Settings) -> None:
    first = _paths(small_shop, Night.parse("2017-11-20"))
    plant(small_shop, occurred_at="2017-11-15 12:00+00")

    second = _paths(small_shop, TOMORROW)

    again = {name for name in first if second[name] != first[name]}
    assert again == {"events/2017-11-15.parquet"}


def test_an_item_that_becomes_known_brings_its_events_back(small_shop: Settings) -> None:
    from collecting import execute

    plant(small_shop, item_id="unlisted", occurred_at="2017-11-15 12:00+00")
    assert collect(small_shop).stats["dropped"] == {"unknown_item": 1}
    execute(small_shop, "insert into nightshift.items (item_id, title) values ('unlisted', 'Lamp')")

    second = collect(small_shop, TOMORROW)

    assert second.stats["dropped"] == {}
    assert (
        Lake.of(small_shop)
        .scan(second, "events/2017-11-15")
        .filter(item_id="unlisted")
        .collect()
        .height
        == 1
    )


def test_other_cleaning_rules_share_nothing_and_a_lost_file_is_copied_again(
    small_shop: Settings,
) -> None:
    first = _paths(small_shop, Night.parse("2017-11-20"))
    other = _paths(small_shop.with_({"collect": {"tie_seed": 8}}), TOMORROW)
    assert not set(first.values()) & set(other.values())

    lost = Lake.of(small_shop)
    lost.delete(first["events/2017-11-03.parquet"])
    third = _paths(small_shop, TOMORROW)
    assert third["events/2017-11-03.parquet"] != first["events/2017-11-03.parquet"]
    assert third["events/2017-11-04.parquet"] == first["events/2017-11-04.parquet"]
