"""Histories with the night behind them: newcomers, repeats, withheld items, order."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from nightshift.lake import Lake
from nightshift.recommend.morning import extend
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, event_rows, events, settings_for, write_morning, write_snapshot

CATALOGUE = ["a", "b", "c", "d"]  # codes 0 to 3
PAST = {"u2": ["a", "b"], "u4": ["c"]}
INSIDE = {"u2": ["b", "d"], "u1": ["a"], "u3": ["c", "c"]}


@pytest.fixture
def extended(tmp_path):
    def make(*, repeats=True, inside=None, **shop):
        settings = settings_for(tmp_path)
        lake = Lake.of(settings)
        before = events(PAST, NIGHT.start - timedelta(days=3))
        snapshot = write_snapshot(lake, settings, before, CATALOGUE, repeats=repeats, **shop)
        night = events(INSIDE, NIGHT.start) if inside is None else inside
        morning = write_morning(lake, settings, night)
        return extend(Snapshot(lake, snapshot), lake.scan(morning, "events.parquet"))

    return make


def lists(found):
    return {key: found.histories.of(row).tolist() for row, key in enumerate(found.user_keys)}


def test_known_users_keep_their_code_and_newcomers_follow(extended):
    found = extended()
    assert found.user_keys == ["u2", "u4", "u1", "u3"]
    assert lists(found) == {"u2": [0, 1, 1, 3], "u4": [2], "u1": [0], "u3": [2, 2]}
    assert found.new.tolist() == [2, 0, 1, 2]


def test_where_nothing_repeats_only_first_events_count_as_new(extended):
    found = extended(repeats=False)
    assert lists(found) == {"u2": [0, 1, 3], "u4": [2], "u1": [0], "u3": [2]}
    assert found.new.tolist() == [1, 0, 1, 1]


def test_the_last_time_is_that_of_the_newest_event(extended):
    found = extended(users=["u2", "u4", "u5"])
    last = dict(zip(found.user_keys, found.last_time.tolist(), strict=True))
    micro = timedelta(microseconds=1)

    def stamp(moment):
        return (moment - NIGHT.start.replace(year=1970, month=1, day=1)) // micro

    assert last["u2"] == stamp(NIGHT.start + timedelta(hours=1))
    assert last["u4"] == stamp(NIGHT.start - timedelta(days=3))
    assert last["u5"] == -1


def test_the_nights_events_come_in_order_of_time(extended):
    noon = NIGHT.start + timedelta(hours=12)
    rows = [
        (user, item, "purchase", noon - timedelta(minutes=minutes), 0)
        for user in ("u2", "new")
        for minutes, item in enumerate("dbca")
    ]
    shuffled = event_rows(rows).sample(fraction=1.0, shuffle=True, seed=3)
    found = extended(inside=shuffled)
    assert lists(found)["new"] == [0, 2, 1, 3]
    assert lists(found)["u2"] == [0, 1, 0, 2, 1, 3]
    assert (found.histories.times[:6] == sorted(found.histories.times[:6])).all()


def test_what_is_withheld_from_learning_stays_withheld(extended):
    found = extended(withheld=["c", "d"])
    assert lists(found) == {"u2": [0, 1, 1], "u4": [2], "u1": [0]}
    assert found.new.tolist() == [1, 0, 1]


def test_views_and_unknown_items_are_no_events(extended):
    at = NIGHT.start + timedelta(hours=1)
    inside = event_rows([("u4", "a", "view", at, 0), ("x", "gone", "purchase", at, 0)])
    found = extended(inside=inside)
    assert lists(found) == {"u2": [0, 1], "u4": [2]}
    # A model reads the view all the same: it learns nothing of it, and from it what comes next.
    read = found.histories.read
    assert read.of(1).tolist() == [2, 0]
    assert read.targets is not None
    assert read.targets.tolist() == [True, True, True, False]
    assert found.new.tolist() == [0, 1]


@pytest.mark.parametrize("repeats", [True, False])
def test_an_empty_night_changes_nothing(extended, repeats):
    found = extended(repeats=repeats, inside=event_rows([]))
    assert lists(found) == {"u2": [0, 1], "u4": [2]}
    assert found.new.tolist() == [0, 0]
    assert isinstance(found.user_keys, list)
    assert pl.Series(found.last_time).min() > 0
