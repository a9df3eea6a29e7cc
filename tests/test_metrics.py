"""Metrics against textbook loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nightshift import metrics

K, ITEMS, USERS = 10, 40, 200


@pytest.fixture(scope="module")
def lists():
    """Ranked lists with -1 at the end of some, relevant sets of 0 to 15 items."""
    generator = np.random.default_rng(3)
    ranked = np.stack([generator.permutation(ITEMS)[:K] for _ in range(USERS)]).astype(np.int32)
    ranked[::7, 6:] = -1
    relevant = [generator.permutation(ITEMS)[: generator.integers(0, 16)] for _ in range(USERS)]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in relevant])])
    return ranked, relevant, indptr, np.concatenate(relevant)


def test_metrics_equal_the_textbook_loops(lists):
    ranked, relevant, indptr, items = lists

    hit = metrics.hits(ranked, indptr, items)
    counts = np.diff(indptr)
    found = zip(
        metrics.ndcg(hit, counts),
        metrics.recall(hit, counts),
        metrics.reciprocal_rank(hit),
        strict=True,
    )

    for row, wanted, (ndcg, recall, rr) in zip(ranked, relevant, found, strict=True):
        inside = [item in set(wanted.tolist()) for item in row.tolist()]
        dcg = sum(1 / math.log2(rank + 2) for rank, yes in enumerate(inside) if yes)
        best = sum(1 / math.log2(rank + 2) for rank in range(min(K, len(wanted))))
        assert ndcg == pytest.approx(dcg / best if best else 0)
        assert recall == pytest.approx(sum(inside) / min(K, len(wanted)) if len(wanted) else 0)
        assert rr == pytest.approx(1 / (inside.index(True) + 1) if any(inside) else 0)


def test_a_list_of_nothing_hits_nothing():
    ranked = np.full((2, K), -1, dtype=np.int32)
    assert not metrics.hits(ranked, np.array([0, 1, 2]), np.array([0, 39])).any()
    assert not metrics.hits(ranked, np.array([0, 0, 0]), np.array([], dtype=np.int32)).any()


def test_a_perfect_list_scores_one_however_many_targets_there_are():
    ranked = np.arange(K, dtype=np.int32)[None, :].repeat(2, axis=0)
    indptr, items = np.array([0, 3, 3 + 25]), np.concatenate([np.arange(3), np.arange(25)])
    hit = metrics.hits(ranked, indptr, items)
    assert metrics.ndcg(hit, np.diff(indptr)).tolist() == [1, 1]
    assert metrics.recall(hit, np.diff(indptr)).tolist() == [1, 1]


def test_exposure_metrics_equal_their_definitions(lists):
    ranked = lists[0]
    candidates = np.ones(ITEMS + 5, dtype=np.bool_)
    candidates[3] = False
    counts = [int((ranked == item).sum()) for item in range(ITEMS + 5) if item != 3]

    mean = sum(counts) / len(counts)
    pairs = sum(abs(a - b) for a in counts for b in counts)
    assert metrics.gini(ranked, candidates) == pytest.approx(pairs / (2 * len(counts) ** 2 * mean))
    shown = sum(count > 0 for count in counts)
    assert metrics.coverage(ranked, candidates) == pytest.approx(shown / len(counts))


def test_gini_at_its_ends():
    everyone = np.ones(10, dtype=np.bool_)
    assert metrics.gini(np.arange(10)[None, :], everyone) == pytest.approx(0)
    assert metrics.gini(np.zeros((5, 1), dtype=np.int64), everyone) == pytest.approx(0.9)
    assert metrics.gini(np.full((5, 1), -1), everyone) == 0


def test_rare_items_are_more_novel():
    events = np.array([1000, 10, 0])
    of = [metrics.novelty(np.array([[item, -1]]), events) for item in range(3)]
    assert of == sorted(of)
    assert of[0] == pytest.approx(-math.log2(1001 / 1013))


def test_auc_equals_counting_pairs_with_ties():
    generator = np.random.default_rng(5)
    scores, labels = generator.integers(0, 8, 120).astype(float), generator.random(120) < 0.3
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    assert metrics.auc(scores, labels) == pytest.approx(np.mean(pairs))
    assert metrics.auc(scores, np.zeros(120, dtype=np.bool_)) is None


def test_calibration_error_of_a_calibrated_and_of_a_boastful_score():
    generator = np.random.default_rng(6)
    probabilities = generator.random(50_000)
    labels = generator.random(50_000) < probabilities
    assert metrics.calibration_error(probabilities, labels) < 0.02
    assert metrics.calibration_error(np.ones(100), np.zeros(100, dtype=np.bool_)) == 1
    assert metrics.log_loss(np.full(4, 0.5), labels[:4]) == pytest.approx(math.log(2))


def test_graded_ndcg_equals_the_loop():
    gains, ideal = np.array([[0.0, 3.0, 1.0]]), np.array([[3.0, 2.0, 1.0]])
    dcg = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 + 2 / math.log2(3) + 1 / math.log2(4)
    assert metrics.graded_ndcg(gains, ideal)[0] == pytest.approx(dcg / best)
