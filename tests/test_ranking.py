"""The k best of a dense block, against sorting; what may not be recommended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nightshift.ranking import mask_scores, select_top_k
from shop_by_hand import histories

# Few distinct values: ties everywhere, -inf among them.
SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 4), st.integers(0, 12)),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]),
)


def naive(row: np.ndarray, k: int) -> list[int]:
    order = sorted((i for i in range(len(row)) if row[i] > -np.inf), key=lambda i: (-row[i], i))
    return (order + [-1] * k)[:k]


# Rows so much longer than the list that their best are found by columns, ties and -inf as above.
LONG = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(64, 150)),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, 3.0, 4.0]),
    fill=st.just(-np.inf),
)


@example_settings(deadline=None)  # the first example imports torch
@given(SCORES, st.integers(1, 15))
def test_top_k_is_sorting_by_score_then_code(scores, k):
    codes, best = select_top_k(scores.copy(), k)
    assert codes.shape == best.shape == (len(scores), k)
    assert (codes.dtype, best.dtype) == (np.int32, np.float32)
    assert codes.tolist() == [naive(row, k) for row in scores]
    for row, chosen, values in zip(scores, codes, best, strict=True):
        expected = np.where(chosen >= 0, row[chosen] if len(row) else -np.inf, -np.inf)
        np.testing.assert_array_equal(values, expected)


@example_settings(deadline=None)
@given(LONG, st.integers(1, 4))
def test_top_k_of_a_long_row_is_sorting_by_score_then_code(scores, k):
    codes, _ = select_top_k(scores.copy(), k)
    assert codes.tolist() == [naive(row, k) for row in scores]


@pytest.mark.parametrize("items", [5000, 5001, 5007])
def test_the_best_of_a_long_row_wherever_they_lie(items):
    scores = np.random.default_rng(items).normal(size=(50, items)).astype(np.float32)
    scores[0, -9:] = 9.0  # in the end that is in no column
    scores[1, 5:3000:625] = 9.0  # under each other
    codes, _ = select_top_k(scores, 10)
    assert codes.tolist() == [naive(row, 10) for row in scores]


def test_equals_at_the_edge_go_by_code_in_a_long_row():
    scores = np.zeros((3, 5000), dtype=np.float32)
    scores[1, 4000] = 1.0
    scores[2] = np.random.default_rng(0).permutation(5000)
    codes, _ = select_top_k(scores, 5)
    assert codes[0].tolist() == [0, 1, 2, 3, 4]
    assert codes[1].tolist() == [4000, 0, 1, 2, 3]
    assert codes[2].tolist() == np.argsort(-scores[2])[:5].tolist()


@pytest.mark.parametrize("first", [0, 2, 3])
def test_a_tile_is_masked_as_its_part_of_the_catalogue(first):
    past = histories([[0, 2, 4], [], [3]])
    candidates = np.array([True, False, True, True, True])
    whole, tile = np.ones((3, 5), np.float32), np.ones((3, 2), np.float32)
    mask_scores(whole, past, candidates=candidates, exclude_seen=True)
    part = candidates[first : first + 2]
    mask_scores(tile, past, candidates=part, exclude_seen=True, first=first)
    np.testing.assert_array_equal(tile, whole[:, first : first + 2])


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_masked_items_are_never_recommended(exclude_seen):
    past = histories([[0, 2], [], [3]])
    candidates = np.array([True, False, True, True])
    scores = mask_scores(
        np.ones((3, 4), np.float32), past, candidates=candidates, exclude_seen=exclude_seen
    )
    codes, _ = select_top_k(scores, 4)
    everything = [0, 2, 3, -1]
    seen = [[3, -1, -1, -1], everything, [0, 2, -1, -1]]
    assert codes.tolist() == (seen if exclude_seen else [everything] * 3)
