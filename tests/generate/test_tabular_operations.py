"""Operations on sequences do what they say, and nothing else."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from nightshift.generate.behaviour import operations
from nightshift.generate.behaviour.operations import Candidates
from nightshift.generate.behaviour.sequences import keep, keys_of, lengths_of
from nightshift.generate.hashing import streams

LENGTHS = np.array([3, 5, 10, 10, 7, 4] * 30)
ITEMS = np.where(
    np.arange(10) < LENGTHS[:, None], np.arange(10) + 100 * np.arange(len(LENGTHS))[:, None], -1
).astype(np.int32)
SEEDS = streams(np.arange(len(LENGTHS), dtype=np.uint64), 1)[:, 0]


def rows(items: np.ndarray) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in items]


def similar(items: np.ndarray) -> Candidates:
    """Everything is like the item a thousand further on, and hardly like the one after that."""
    found = np.stack([items + 100_000, items + 200_000], axis=1).astype(np.int32)
    cosines = np.broadcast_to(np.array([0.9, 0.5], dtype=np.float32), found.shape)
    return Candidates(found, cosines, np.broadcast_to(np.float32([1.0, 0.0]), found.shape))


def test_a_crop_is_a_stretch_without_a_gap() -> None:
    made = operations.crop(ITEMS, SEEDS, 0.4)
    starts = set()
    for before, after, changed in zip(rows(ITEMS), rows(made.items), made.changed, strict=True):
        cut = len(before) - len(after)
        assert cut == pytest.approx(changed * len(before))
        assert 1 <= cut <= max(1, round(0.4 * len(before)))
        first = before.index(after[0])
        assert after == before[first : first + len(after)]
        starts.add((len(before), first))
    assert len({first for length, first in starts if length == 10}) == 5  # 0 to 4, all of them


def test_a_mask_leaves_the_others_in_order() -> None:
    made = operations.mask(ITEMS, SEEDS, 0.4)
    gaps = 0
    for before, after in zip(rows(ITEMS), rows(made.items), strict=True):
        assert len(after) == max(2, len(before) - max(1, round(0.4 * len(before))))
        assert after == sorted(after)
        assert set(after) < set(before)
        gaps += any(b - a > 1 for a, b in pairwise(after))
    assert gaps > 100  # a crop would have none


def test_reordering_keeps_the_items_and_moves_one_stretch() -> None:
    made = operations.reorder(ITEMS, SEEDS, 0.4)
    for before, after in zip(rows(ITEMS), rows(made.items), strict=True):
        assert sorted(after) == before
        assert after != before
        moved = [place for place in range(len(before)) if after[place] != before[place]]
        assert moved[-1] - moved[0] < max(2, round(0.4 * len(before)))


def test_substitutes_stand_where_the_items_stood() -> None:
    made = operations.substitute(ITEMS, SEEDS, 0.4, similar)
    assert made.similarity is not None
    assert made.similarity == pytest.approx(np.full(len(ITEMS), 0.9))  # never the weightless one
    for before, after, changed in zip(rows(ITEMS), rows(made.items), made.changed, strict=True):
        new = [place for place in range(len(before)) if after[place] != before[place]]
        assert len(new) == max(1, round(0.4 * len(before))) == round(changed * len(before))
        assert all(after[place] == before[place] + 100_000 for place in new)


def test_what_is_inserted_stands_behind_the_item_it_belongs_to() -> None:
    made = operations.insert(ITEMS, SEEDS, 0.4, similar, width=30)
    for before, after in zip(rows(ITEMS), rows(made.items), strict=True):
        assert [item for item in after if item in before] == before
        new = [place for place, item in enumerate(after) if item not in before]
        assert len(new) == max(1, round(0.4 * len(before)))
        assert all(after[place] == after[place - 1] + 100_000 for place in new)
    short = operations.insert(ITEMS, SEEDS, 0.4, similar, width=10)
    assert lengths_of(short.items).max() == 10
    for full, latest in zip(rows(made.items), rows(short.items), strict=True):
        assert latest == full[-10:]


def test_nothing_is_put_in_that_is_there_already_or_twice() -> None:
    def always_the_same(items: np.ndarray) -> Candidates:
        found = np.stack([items, np.full_like(items, 7)], axis=1).astype(np.int32)
        ones = np.ones(found.shape, dtype=np.float32)
        return Candidates(found, ones, ones)

    items = np.where(ITEMS >= 0, ITEMS + 1000, -1).astype(np.int32)
    made = operations.substitute(items, SEEDS, 0.5, always_the_same)
    for before, after in zip(rows(items), rows(made.items), strict=True):
        assert len(set(after)) == len(after)
        assert set(after) - set(before) == {7}


def test_no_candidate_no_change() -> None:
    def nothing(items: np.ndarray) -> Candidates:
        found = np.full((len(items), 2), -1, dtype=np.int32)
        zeros = np.zeros(found.shape, dtype=np.float32)
        return Candidates(found, zeros, zeros)

    made = operations.substitute(ITEMS, SEEDS, 0.4, nothing)
    assert (made.items == ITEMS).all()
    assert (made.changed == 0).all()


@pytest.mark.parametrize("name", ["crop", "mask", "reorder", "substitute", "insert"])
def test_a_row_does_not_depend_on_the_others(name: str) -> None:
    more = {"substitute": {"similar": similar}, "insert": {"similar": similar, "width": 30}}
    operation = partial(getattr(operations, name), **more.get(name, {}))
    whole = operation(ITEMS, SEEDS, 0.3)
    some = np.flatnonzero(LENGTHS <= 7)[::2]
    part = operation(ITEMS[some, :7], SEEDS[some], 0.3)  # nor on how long the longest of them is
    assert rows(part.items) == rows(whole.items[some])
    other = operation(ITEMS, SEEDS + np.uint64(1), 0.3)
    assert (other.items != whole.items).any(axis=1).mean() > 0.4


def test_a_key_tells_order_and_length_apart() -> None:
    items = np.array([[1, 2, 3], [3, 2, 1], [1, 2, -1], [1, 2, 3]], dtype=np.int32)
    keys = keys_of(items)
    assert keys[0] == keys[3]
    assert len(np.unique(keys)) == 3
    kept = keep(items, np.array([[False, True, True]] * 4))
    assert kept.tolist() == [[2, 3, -1], [2, 1, -1], [2, -1, -1], [2, 3, -1]]
