"""What is asked of the arms, and which slice a target belongs to."""

from __future__ import annotations

import numpy as np
import pytest
from planted import (
    N_ITEMS,
    WITHHELD,
    many_users,
    settings_for,
    write_morning,
    write_snapshot,
)

from nightshift.evaluate.judge import judge, user_metrics
from nightshift.evaluate.window import read_window
from nightshift.lake import Lake
from nightshift.snapshot import Snapshot


@pytest.fixture
def window_of(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)

    def make(before, inside, *, repeats=True):
        snapshot = Snapshot(lake, write_snapshot(lake, settings, before, repeats=repeats))
        morning = write_morning(lake, settings, inside)
        return read_window(snapshot, lake.scan(morning, "events.parquet"), tail_events=2)

    return make


def test_targets_are_distinct_and_new_users_have_no_history(window_of):
    window = window_of({"ann": [1, 1, 2], "bob": [3]}, {"new": [4], "ann": [2, 2, 7], "eve": [1]})

    assert window.user_keys == ["ann", "eve", "new"]
    assert window.indptr.tolist() == [0, 2, 3, 4]
    assert window.items.tolist() == [2, 7, 1, 4]
    assert window.histories.of(0).tolist() == [1, 1, 2]
    assert window.histories.lengths.tolist() == [3, 0, 0]
    assert window.slices["new_users"].tolist() == [False, False, True, True]


def test_slices_by_popularity_and_novelty(window_of):
    before = {"ann": [1, 1, 1, 2], "bob": [2]}
    window = window_of(before, {"ann": [1, 2, 8, 5]})

    found = {name: window.items[mask].tolist() for name, mask in window.slices.items()}
    assert found == {
        "overall": [1, 2, 8],  # 5 is withheld
        "warm": [1],
        "tail": [2],
        "cold": [5, 8],
        "new_users": [],
        "repeat": [1, 2],
        "new": [8],
    }


def test_slices_add_up(window_of):
    window = window_of(*many_users(60))
    s = window.slices
    natural = window.natural[window.items]

    assert (s["overall"] == natural).all()
    assert (s["repeat"].astype(int) + s["new"] == s["overall"]).all()
    assert (s["warm"].astype(int) + s["tail"] + (s["cold"] & natural) == s["overall"]).all()
    assert (s["cold"] >= ~natural).all()
    assert s["cold"].any()
    assert s["tail"].sum() + s["warm"].sum() > 0


def test_where_nothing_repeats_what_a_user_had_is_no_target(window_of):
    window = window_of({"ann": [1, 2], "bob": [3]}, {"ann": [1, 4], "bob": [3]}, repeats=False)
    assert window.user_keys == ["ann"]
    assert window.items.tolist() == [4]
    assert not window.slices["repeat"].any()


def test_items_outside_the_catalogue_are_counted(window_of):
    window = window_of({"ann": [1]}, {"ann": [2, N_ITEMS + 7, N_ITEMS + 8]})
    assert window.items.tolist() == [2]
    assert window.outside == 2


def test_an_empty_night_is_a_window_without_users(window_of):
    window = window_of({"ann": [1]}, {})
    assert len(window) == 0
    assert window.items.tolist() == []


class InOrder:
    """Ranks items by code, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def top_k(self, histories, k, *, candidates, exclude_seen):
        self.asked.append((len(histories), candidates, exclude_seen))
        allowed = np.arange(N_ITEMS) if candidates is None else np.flatnonzero(candidates)
        codes = np.tile(allowed[:k].astype(np.int32), (len(histories), 1))
        return codes, -codes.astype(np.float32)


def test_withheld_items_are_candidates_for_cold_targets_only(window_of):
    window = window_of({"ann": [1, 2, 11]}, {"ann": [5, 8, 11], "bob": [1]})

    judged = judge(InOrder(), window, label="x")
    found = user_metrics(judged, window, arm="x", seed=0)

    assert not np.isin(judged.lists, WITHHELD).any()
    assert judged.lists[0].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    cold = found.filter(slice="cold", user_key="ann", metric="recall@10")
    assert cold["value"].to_list() == [1.0]  # 5 and 8 are both in 0..9 of the full catalogue
    overall = found.filter(slice="overall", user_key="ann", metric="recall@10")
    assert overall["value"].to_list() == [0.5]  # 8, not 11; 5 is no target here


def test_a_user_without_targets_in_a_slice_has_no_row_there(window_of):
    window = window_of({"ann": [1, 2], "bob": [3]}, {"ann": [1], "bob": [8]})
    found = user_metrics(judge(InOrder(), window, label="x"), window, arm="x", seed=0)
    assert found.filter(slice="repeat")["user_key"].unique().to_list() == ["ann"]
    assert found.filter(slice="cold")["user_key"].unique().to_list() == ["bob"]
    assert found.filter(slice="new_users").height == 0
    assert found.filter(slice="overall").height == 2 * 3


def test_seen_items_are_left_out_exactly_where_nothing_repeats(window_of):
    for repeats in (True, False):
        ranker = InOrder()
        judge(ranker, window_of({"a": [1]}, {"a": [2]}, repeats=repeats), label="x")
        assert {asked[2] for asked in ranker.asked} == {not repeats}


def test_ties_in_time_and_rows_do_not_matter(window_of):
    before, inside = many_users(20)
    one = window_of(before, inside)
    other = window_of(before, dict(reversed(inside.items())))
    assert one.user_keys == other.user_keys
    assert (one.items == other.items).all()
