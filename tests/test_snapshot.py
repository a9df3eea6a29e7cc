"""Histories against naive loops; a snapshot's codes, order and repeats."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import BadInput
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.snapshot import Snapshot, read_vectors
from shop_by_hand import (
    NIGHT,
    event_rows,
    events,
    histories,
    settings_for,
    unit_vectors,
    write_snapshot,
    write_vectors,
)

LISTS = st.lists(st.lists(st.integers(0, 50), max_size=7), max_size=6)


def as_lists(found: Histories) -> list[list[int]]:
    return [found.of(user).tolist() for user in range(len(found))]


@given(LISTS)
def test_histories_hold_every_users_items_in_order(lists):
    found = histories(lists)
    assert as_lists(found) == lists
    assert found.lengths.tolist() == [len(items) for items in lists]


@given(LISTS, st.integers(1, 9))
def test_last_is_right_aligned_and_filled_in_front(lists, length):
    expected = [[-1] * (length - len(items[-length:])) + items[-length:] for items in lists]
    found = histories(lists).last(length)
    assert found.shape == (len(lists), length)
    assert found.tolist() == expected
    assert found.dtype == np.int32


@given(LISTS.filter(len), st.data())
def test_take_gives_these_users_in_this_order(lists, data):
    users = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    whole = histories(lists)
    part = whole.take(np.array(users, dtype=np.int64))
    assert as_lists(part) == [lists[user] for user in users]
    times = [whole.times[whole.indptr[u] : whole.indptr[u + 1]].tolist() for u in users]
    assert part.times.tolist() == [time for own in times for time in own]


@given(LISTS)
def test_from_codes_cuts_sorted_rows_into_users(lists):
    users = np.array([u for u, items in enumerate(lists) for _ in items], dtype=np.int64)
    items = np.array([item for own in lists for item in own], dtype=np.int32)
    found = Histories.from_codes(users, items, items.astype(np.int64), n_users=len(lists))
    assert as_lists(found) == lists


@pytest.fixture
def lake(tmp_path):
    return Lake.of(settings_for(tmp_path))


def snapshot_of(lake, tmp_path, rows, items, **kwargs) -> Snapshot:
    return Snapshot(lake, write_snapshot(lake, settings_for(tmp_path), rows, items, **kwargs))


def test_codes_are_the_rows_of_the_sorted_catalogue(lake, tmp_path):
    before = events({"u2": ["b"], "u1": ["c", "a"]}, NIGHT.start - timedelta(days=2))
    found = snapshot_of(lake, tmp_path, before, ["c", "a", "b"])
    assert found.items["item_id"].to_list() == ["a", "b", "c"]
    assert found.item_codes.rows() == [(0, "a"), (1, "b"), (2, "c")]
    assert found.user_codes.rows() == [(0, "u1"), (1, "u2")]
    assert as_lists(found.histories) == [[2, 0], [1]]


def test_events_are_ordered_by_time_then_by_the_seeded_tie_not_by_item(lake, tmp_path):
    noon = NIGHT.start - timedelta(hours=12)
    rows = [
        ("u", "a", "purchase", noon, 9),
        ("u", "b", "purchase", noon, 3),
        ("u", "c", "purchase", noon - timedelta(microseconds=1), 99),
    ]
    found = snapshot_of(lake, tmp_path, event_rows(rows), ["a", "b", "c"])
    assert as_lists(found.histories) == [[2, 1, 0]]
    assert np.diff(found.histories.times).tolist() == [1, 0]


@pytest.mark.parametrize(("repeats", "expected"), [(True, [0, 1, 0, 1]), (False, [0, 1])])
def test_a_shop_without_repeats_keeps_the_first_event_with_an_item(
    lake, tmp_path, repeats, expected
):
    before = events({"u": ["a", "b", "a", "b"]}, NIGHT.start - timedelta(days=1))
    found = snapshot_of(lake, tmp_path, before, ["a", "b"], repeats=repeats)
    assert as_lists(found.histories) == [expected]
    assert (np.diff(found.histories.times) > 0).all()


def test_only_target_kinds_and_known_items_make_a_history(lake, tmp_path):
    at = NIGHT.start - timedelta(days=1)
    rows = [
        ("u", "a", "view", at, 0),
        ("u", "a", "purchase", at, 1),
        ("u", "gone", "purchase", at, 2),
    ]
    found = snapshot_of(lake, tmp_path, event_rows(rows), ["a"])
    assert as_lists(found.histories) == [[0]]


def test_a_user_without_target_events_has_an_empty_history(lake, tmp_path):
    before = events({"u1": ["a"], "u3": ["a"]}, NIGHT.start - timedelta(days=1))
    found = snapshot_of(lake, tmp_path, before, ["a"], users=["u1", "u2", "u3", "u4"])
    assert as_lists(found.histories) == [[0], [], [0], []]


def test_an_event_of_a_user_who_is_not_listed_is_refused(lake, tmp_path):
    before = events({"u1": ["a"], "u2": ["a"]}, NIGHT.start - timedelta(days=1))
    with pytest.raises(BadInput, match="users it does not list"):
        _ = snapshot_of(lake, tmp_path, before, ["a"], users=["u1"]).histories


def test_vectors_come_in_order_of_the_catalogue(lake, tmp_path):
    settings = settings_for(tmp_path)
    vectors = unit_vectors(4)
    found = read_vectors(lake, write_vectors(lake, settings, vectors))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors.astype(np.float16).astype(np.float32))
