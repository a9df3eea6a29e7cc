"""Ranking metrics per user, of whole lists, and of scores; the intervals are in `intervals`.

Everything is vectorised over users. `ranked` is [users, k] item codes, best first, -1 where a list
is shorter; the relevant items are compressed rows (`indptr` [users + 1], `items`), distinct within
a user.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.intervals import Interval, paired_bootstrap, paired_bootstraps

__all__ = [
    "Interval",
    "auc",
    "calibration_error",
    "coverage",
    "exposure",
    "gini",
    "graded_ndcg",
    "hits",
    "log_loss",
    "ndcg",
    "novelty",
    "paired_bootstrap",
    "paired_bootstraps",
    "recall",
    "reciprocal_rank",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


def hits(ranked: Ints, indptr: Ints, items: Ints) -> Bools:
    """Which recommended items are relevant: [users, k]."""
    users = len(indptr) - 1
    if not len(items) or not ranked.size:
        return np.zeros(ranked.shape, dtype=np.bool_)
    width = int(max(items.max(), ranked.max())) + 1
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(indptr))
    relevant = np.sort(owner * width + items)
    keys = np.arange(users, dtype=np.int64)[:, None] * width + ranked
    place = np.minimum(np.searchsorted(relevant, keys), len(relevant) - 1)
    found: Bools = (relevant[place] == keys) & (ranked >= 0)
    return found


def ndcg(hit: Bools, relevant: Ints) -> Floats:
    """NDCG@k with binary gains (Järvelin & Kekäläinen, 2002): [users].

    The ideal list has min(k, relevant) hits in front. A user without relevant items scores 0.
    """
    k = hit.shape[1]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, k)]
    return _ratio(hit @ discount, ideal)


def recall(hit: Bools, relevant: Ints) -> Floats:
    """Recall@k as hits / min(k, relevant), so that a perfect list scores 1: [users].

    With one relevant item it is the hit rate. (Plain recall divides by `relevant`, which no list
    of k can reach for a user with more of them.)
    """
    return _ratio(hit.sum(axis=1).astype(np.float64), np.minimum(relevant, hit.shape[1]))


def reciprocal_rank(hit: Bools) -> Floats:
    """1 / rank of the first hit, 0 without one in the list: [users]; its mean is MRR@k."""
    first = hit.argmax(axis=1)
    return np.where(hit.any(axis=1), 1.0 / (first + 1.0), 0.0)


def graded_ndcg(gains: Floats, ideal: Floats) -> Floats:
    """NDCG@k of graded gains in list order [queries, k], `ideal` sorted descending [queries, k]."""
    discount = 1.0 / np.log2(np.arange(2, gains.shape[1] + 2))
    return _ratio(gains @ discount, ideal @ discount)


def _ratio(above: Floats, below: npt.NDArray[np.floating] | Ints) -> Floats:
    return np.divide(above, below, out=np.zeros(len(above)), where=np.asarray(below) > 0)


# --- of all lists together --------------------------------------------------------------------


def exposure(ranked: Ints, n_items: int) -> Ints:
    """How often each item was recommended: [n_items]."""
    return np.bincount(ranked[ranked >= 0].ravel(), minlength=n_items)


def coverage(ranked: Ints, candidates: Bools) -> float:
    """Share of the candidates that at least one user was recommended."""
    shown = exposure(ranked, len(candidates)) > 0
    return float((shown & candidates).sum() / max(int(candidates.sum()), 1))


def gini(ranked: Ints, candidates: Bools) -> float:
    """Gini coefficient of exposure over the candidates: 0 all alike, towards 1 for a few items."""
    counts = np.sort(exposure(ranked, len(candidates))[candidates]).astype(np.float64)
    n, total = len(counts), counts.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total))


def novelty(ranked: Ints, events: Ints) -> float:
    """Mean self-information of recommended items, in bits (Zhou et al., 2010).

    An item's probability is its share of all target events before the night, add-one smoothed, so
    that an item without any stays finite.
    """
    shown = ranked[ranked >= 0]
    if not len(shown):
        return 0.0
    bits = -np.log2((events + 1.0) / (events.sum() + len(events)))
    return float(bits[shown].mean())


# --- of scores against labels -----------------------------------------------------------------


def auc(scores: Floats, labels: Bools) -> float | None:
    """Area under the ROC curve by ranks, ties counted half; None with one class only."""
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct value, from 1
    above = rank[inverse][labels].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def log_loss(probabilities: Floats, labels: Bools) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-np.where(labels, np.log(clipped), np.log1p(-clipped)).mean())


def calibration_error(probabilities: Floats, labels: Bools, *, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Naeini et al., 2015)."""
    bin_of = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gap = np.bincount(bin_of, weights=probabilities - labels, minlength=bins)
    return float(np.abs(gap).sum() / max(len(labels), 1))
