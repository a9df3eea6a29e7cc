"""Everything that is dropped or changed is counted, by rule."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from collecting import (
    FIRST_ITEM,
    NIGHT,
    add_search,
    collect,
    execute,
    morning,
    plant,
    query,
    snapshot,
)

from nightshift.collect.texts import clean
from nightshift.settings import Settings


def test_bad_events_are_dropped_and_counted(small_shop: Settings) -> None:
    clean_events = collect(small_shop).stats["events"]
    bad = {
        "missing_id": {"user_id": ""},
        "unknown_kind": {"kind": "glance"},
        "impossible_time": {"recorded_at": "2017-11-01 00:00+00"},
        "unknown_item": {"item_id": "nowhere"},
    }
    for columns in bad.values():
        plant(small_shop, **columns)
    for number in range(3):
        plant(small_shop, session_id="twice", value=float(number))

    stats = collect(small_shop).stats

    assert stats["dropped"] == {**dict.fromkeys(bad, 1), "duplicate": 2}
    assert stats["events"] == clean_events + 1


def test_impossible_figures_become_null_and_the_event_stays(small_shop: Settings) -> None:
    clean_events = collect(small_shop).stats["events"]
    for number, value in enumerate((-5.0, 1e12)):
        plant(small_shop, value=value, quantity=-1.0, session_id=f"s{number}")
    execute(small_shop, f"update nightshift.items set price = -1 where {FIRST_ITEM}")

    taken = snapshot(small_shop)

    assert taken.manifest.stats["changed"] == {"price": 1, "value": 2}
    assert taken.manifest.stats["events"] == clean_events + 2
    planted = taken.events().filter(pl.col("session_id").is_in(["s0", "s1"])).collect()
    assert planted["value"].null_count() == planted["quantity"].null_count() == 2


def test_the_day_of_a_bot_is_dropped_whole(small_shop: Settings) -> None:
    busiest, day = query(
        small_shop,
        "select count(*), date_trunc('day', occurred_at, 'UTC') from nightshift.events"
        f" where occurred_at < '{NIGHT.start}' group by user_id, 2 order by 1 desc, 2 limit 1",
    )[0]
    stats = collect(small_shop.with_({"collect": {"max_events_per_user_day": busiest - 1}})).stats
    assert stats["dropped"]["crowded_day"] >= busiest
    assert stats["dropped"]["crowded_day"] % busiest == 0
    assert day.hour == 0


def test_item_texts_are_cleaned_joined_and_cut(small_shop: Settings) -> None:
    execute(
        small_shop,
        "update nightshift.items set title = :title, description = :long, category = 'Lamps',"
        f" brand = 'Lux.' where {FIRST_ITEM}",
        title="<b>Salt &amp; Pepper</b>\x07 \n Mill&#39;s",
        long="very long " * 1000,
    )
    taken = snapshot(small_shop)
    item = taken.items.row(0, named=True)

    assert item["title"] == "Salt & Pepper Mill's"
    assert item["text"].startswith("Salt & Pepper Mill's. Lux. Lamps. very long")
    assert len(item["description"]) <= 2000
    assert taken.manifest.stats["changed"] == {"text": 1}


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("x<br/>y<!-- hidden -->z", "x y z"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "alert(1)"),
        ("\u200b\u202e\ufeff", None),
        ("naïve café ☕ 日本", "naïve café ☕ 日本"),
        (None, None),
    ],
)
def test_cleaning_one_text(raw: str | None, cleaned: str | None) -> None:
    assert clean(pl.Series([raw], dtype=pl.String), 100).to_list() == [cleaned]


def test_searches_and_reviews_are_cleaned_too(small_shop: Settings) -> None:
    searches = [
        ("1", "<i>red lamp</i>", None, "2017-11-01"),
        ("2", "<i>red lamp</i>", None, "2017-11-01"),
        ("3", " \x07 ", None, "2017-11-02"),
        ("4", "chair", "nowhere", "2017-11-02"),
        ("5", "undated", None, None),
    ]
    for key, words, item, at in searches:
        add_search(small_shop, words, at=at, item_id=item, key=key)
    taken = snapshot(small_shop)

    assert sorted(taken.searches["query"]) == ["red lamp", "undated"]
    assert Counter(taken.manifest.stats["dropped"]) == Counter(
        {"searches.duplicate": 1, "searches.empty_text": 1, "searches.unknown_item": 1}
    )
    assert morning(small_shop).stats["searches"] == 0


def test_ties_are_broken_by_a_seeded_shuffle(small_shop: Settings) -> None:
    def order(seed: int) -> list[str]:
        taken = snapshot(small_shop.with_({"collect": {"tie_seed": seed}}))
        events = taken.events().sort("user_key", "occurred_at", "tie").collect()
        return events["item_id"].to_list()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert Counter(order(1)) == Counter(order(2))
