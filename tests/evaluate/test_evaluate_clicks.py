"""AUC over impressions or popularity-matched negatives, and calibration over impressions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from planted import (
    N_ITEMS,
    NIGHT,
    item_id,
    many_users,
    settings_for,
    write_morning,
    write_snapshot,
)

from nightshift.evaluate.arms import Arm
from nightshift.evaluate.clicks import AUC_IMPRESSIONS, AUC_MATCHED, judge_clicks, shown
from nightshift.evaluate.window import read_window
from nightshift.lake import Lake
from nightshift.snapshot import Snapshot

BEFORE, INSIDE = many_users(80)


class Knowing:
    """Dense scores that know the window: 1 for a target, `noise` mixed in."""

    def __init__(self, window, noise):
        self.window, self.noise = window, noise

    def scores(self, histories):
        generator = np.random.default_rng(1)
        matrix = generator.random((len(histories), N_ITEMS)) * self.noise
        first = {int(t): u for u, t in enumerate(self.window.histories.times[_firsts(self.window)])}
        for row in range(len(histories)):
            user = first[int(histories.times[histories.indptr[row]])]
            targets = self.window.items[slice(*self.window.indptr[user : user + 2])]
            matrix[row, targets] += 1
        return matrix.astype(np.float32)


def _firsts(window):
    return window.histories.indptr[:-1]


@pytest.fixture
def case(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    snapshot = Snapshot(lake, write_snapshot(lake, settings, BEFORE))
    events = lake.scan(write_morning(lake, settings, INSIDE), "events.parquet")
    return snapshot, read_window(snapshot, events, tail_events=5), events


def impressions(window):
    """Every user was shown all items with an even code."""
    frame = pl.DataFrame({"user_key": window.user_keys}).join(
        pl.DataFrame({"item_id": [item_id(i) for i in range(0, N_ITEMS, 2)]}), how="cross"
    )
    return frame.with_columns(kind=pl.lit("impression"), occurred_at=pl.lit(NIGHT.start)).lazy()


def test_without_impressions_each_target_meets_a_negative_the_user_does_not_know(case):
    snapshot, window, events = case
    pairs = shown(snapshot, window, events)

    assert pairs.metric == AUC_MATCHED
    assert pairs.taken.sum() * 2 == len(pairs.taken)
    for user, item in zip(pairs.user[~pairs.taken], pairs.item[~pairs.taken], strict=True):
        assert item not in window.histories.of(user)
        assert item not in window.items[slice(*window.indptr[user : user + 2])]
        assert window.natural[item]


def test_with_impressions_what_was_shown_is_what_is_judged(case):
    snapshot, window, events = case
    together = pl.concat([events, impressions(window)], how="diagonal")
    pairs = shown(snapshot, window, together)
    assert pairs.metric == AUC_IMPRESSIONS
    assert len(pairs.item) == len(window) * N_ITEMS // 2
    assert (pairs.item % 2 == 0).all()
    even = (window.items % 2 == 0) & window.slices["overall"]
    assert pairs.taken.sum() == even.sum()


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 1.0, 1.0), (1e6, 0.4, 0.6)])
def test_the_auc_is_that_of_the_planted_scores(case, noise, low, high):
    snapshot, window, events = case
    arm = Arm("control", 0, Knowing(window, noise))
    frame, rows = judge_clicks(arm, window, shown(snapshot, window, events))
    assert low <= frame["value"].mean() <= high
    assert rows == []  # no calibration over negatives that were never shown


def test_calibration_is_fitted_on_other_users(case):
    snapshot, window, events = case
    pairs = shown(snapshot, window, pl.concat([events, impressions(window)], how="diagonal"))
    values = {}
    for noise in (0.5, 1e6):
        _, rows = judge_clicks(Arm("control", 0, Knowing(window, noise)), window, pairs)
        values[noise] = {row.metric: row.value for row in rows}
    assert values[0.5]["log_loss"] < 0.5 * values[1e6]["log_loss"]
    assert values[1e6]["ece"] < 0.1  # a useless score, calibrated: everyone gets the base rate


def test_a_ranker_without_scores_is_left_out(case):
    arm = Arm("popularity_7d", None, object())
    assert judge_clicks(arm, case[1], shown(*case))[0] is None
