"""Kinds and times beside a history: what is told, what is not, and that a model can use it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import fresh, model_settings, trained, training_set

from nightshift.recommend.model.network import Recommender
from nightshift.recommend.model.signals import (
    BUCKETS,
    buckets,
    gaps_of,
    left_aligned,
    newest_signals,
    waits_of,
)
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.training.windows import Windows
from shop_by_hand import histories

MINUTE, DAY = 60_000_000, 86_400_000_000


def timed(lists, times, **other):
    return replace(histories(lists), times=np.array(times, dtype=np.int64), **other)


def test_buckets_double_from_a_minute_to_years():
    gaps = np.array([-5, 0, MINUTE - 1, MINUTE, 3 * MINUTE, DAY, 10_000 * DAY])
    assert buckets(gaps).tolist() == [1, 1, 1, 2, 3, 11, BUCKETS - 1]


def test_the_time_before_a_first_event_is_not_known():
    found = timed([[1, 2], [3], [], [4, 5]], [DAY, 2 * DAY, 9 * DAY, 0, DAY], now=3 * DAY)
    assert gaps_of(found).tolist() == [0, 11, 0, 0, 0]  # of an event without a time neither
    assert waits_of(found).tolist() == [11, 1, 0, 12]
    assert waits_of(found.at(0)).tolist() == [0, 0, 0, 0]


def test_what_is_newest_is_told_from_the_left_and_the_wait_stands_behind():
    kinds = np.array([5, 2, 5, 5], dtype=np.int8)
    found = timed([[1, 2, 3], [4], []], [DAY, 2 * DAY, 4 * DAY, DAY], kinds=kinds, now=5 * DAY)
    told, gaps = newest_signals(found, 2)
    assert told.tolist() == [[2, 5], [5, 0], [0, 0]]
    assert gaps.tolist() == [[11, 12, 11], [0, 13, 0], [0, 0, 0]]
    assert left_aligned(found, 2).tolist() == [[2, 3], [4, -1], [-1, -1]]


def test_a_window_tells_the_time_in_front_of_each_item_and_of_its_target():
    found = timed([[1, 2, 3]], [DAY, 2 * DAY, 4 * DAY], kinds=np.array([5, 2, 5], np.int8))
    batch = Windows.cover(found, 8).batch(np.array([0]))
    assert batch.signals.kinds.tolist() == [[5, 2]]
    assert batch.signals.gaps.tolist() == [[0, 11, 12]]


@pytest.mark.parametrize("told", [True, False])
def test_a_model_learns_from_the_kind_what_comes_next(told):
    """Behind item 0 comes 1 when it was bought and 2 when it was only looked at."""
    lists = [[0, 1 if user % 2 else 2] for user in range(60)]
    kinds = np.array([[5 if user % 2 else 2, 5] for user in range(60)], np.int8).ravel()
    stored, vectors = fresh(6, dropout=0.0, signals=told)
    data = training_set(replace(histories(lists), kinds=kinds))
    trained(stored, vectors, data, steps=150, negatives=5)
    asked = replace(histories([[0], [0]]), kinds=np.array([5, 2], np.int8))
    codes, _ = ModelRanker(stored, vectors, beta=0.0).top_k(
        asked, 1, candidates=None, exclude_seen=True
    )
    assert (codes[:, 0].tolist() == [1, 2]) == told


def test_a_model_learns_from_the_wait_what_comes_next():
    """A day behind item 0 comes 1, a year behind it 2."""
    lists = [[0, 1 if user % 2 else 2] for user in range(60)]
    times = [[DAY, 2 * DAY if user % 2 else 366 * DAY] for user in range(60)]
    stored, vectors = fresh(6, dropout=0.0)
    data = training_set(timed(lists, np.array(times).ravel()))
    trained(stored, vectors, data, steps=150, negatives=5)
    rank = ModelRanker(stored, vectors, beta=0.0)
    for wait, expected in ((DAY, 1), (365 * DAY, 2)):
        asked = timed([[0]], [DAY], now=DAY + wait)
        codes, _ = rank.top_k(asked, 1, candidates=None, exclude_seen=True)
        assert codes[0, 0] == expected


def test_a_model_that_has_learnt_nothing_of_signals_ignores_them():
    torch.manual_seed(0)
    model = Recommender(model_settings(), 16).eval()
    history, lengths = torch.randn(1, 3, 16), torch.tensor([3])
    signals = (torch.tensor([[5, 2, 1]]), torch.tensor([[0, 3, 4, 9]]))
    with torch.inference_mode():
        told = model.users(history, lengths, signals=signals)
        assert torch.equal(told, model.users(history, lengths))
