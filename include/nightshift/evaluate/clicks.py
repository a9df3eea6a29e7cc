"""Telling what a user took from what the user did not: AUC, and calibration where it makes sense.

Over real impressions where the shop has them. Where it has none, over popularity-matched negatives,
and the metric's name says so: such an AUC compares arms, it promises no click-through rate, and
calibration is not reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.contracts import ResultRow
from nightshift.evaluate.arms import Arm
from nightshift.evaluate.judge import BLOCK_CELLS
from nightshift.evaluate.window import Window
from nightshift.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MAX_USERS = 1000  # scored densely a second time: enough for an AUC to ±.01
AUC_IMPRESSIONS, AUC_MATCHED = "auc_impressions", "auc_popularity_matched"
_NEAR = 50  # a matched negative lies within this many places in the order of popularity
_TRIES = 5
_SEED = 11


@dataclass(frozen=True, slots=True)
class Shown:
    """What was put before users, sorted by user: rows of the window, item codes, taken or not."""

    user: Codes  # [pairs]
    item: Codes  # [pairs]
    taken: npt.NDArray[np.bool_]  # [pairs]
    metric: str  # name of the AUC


def shown(snapshot: Snapshot, window: Window, events: pl.LazyFrame) -> Shown:
    """Impressions of the night's users, or each target with a negative of like popularity."""
    users = np.unique(np.linspace(0, len(window) - 1, min(len(window), MAX_USERS)).astype(np.int64))
    chosen = pl.DataFrame({"user_key": [window.user_keys[u] for u in users], "row": users})
    found = (
        events.filter(pl.col("kind") == "impression")
        .join(chosen.lazy(), on="user_key", how="inner")
        .join(snapshot.item_codes.lazy(), on="item_id", how="inner")
        .select("row", pl.col("item").cast(pl.Int64))
        .unique()
        .sort("row", "item")
        .collect()
    )
    natural = window.slices["overall"] & np.isin(window.owner, users)
    owner, item = window.owner[natural], window.items[natural].astype(np.int64)
    if found.height:
        user, seen = found["row"].to_numpy(), found["item"].to_numpy()
        width = len(window.natural)
        taken = np.isin(user * width + seen, owner * width + item)
        return Shown(user, seen, taken, AUC_IMPRESSIONS)
    negative = _matched(window, owner, item, snapshot.item_events)
    kept = negative >= 0
    pairs = np.concatenate([item[kept], negative[kept]])
    both = np.tile(owner[kept], 2)
    order = np.argsort(both, kind="stable")
    labels = np.arange(len(both)) < kept.sum()
    return Shown(both[order], pairs[order], labels[order], AUC_MATCHED)


def _matched(window: Window, owner: Codes, item: Codes, events: npt.NDArray[np.int64]) -> Codes:
    """For each target an item of like popularity that the user neither had nor took; -1: none."""
    generator = np.random.default_rng(_SEED)
    natural = np.flatnonzero(window.natural)
    order = natural[np.lexsort((generator.permutation(len(natural)), events[natural]))]
    place = np.zeros(len(window.natural), dtype=np.int64)
    place[order] = np.arange(len(order))
    width = len(window.natural)
    had = np.repeat(np.arange(len(window)), window.histories.lengths) * width
    known = np.concatenate(
        [had + window.histories.items, window.owner * width + window.items.astype(np.int64)]
    )
    out = np.full(len(item), -1, dtype=np.int64)
    for _ in range(_TRIES):
        open_ = np.flatnonzero(out < 0)
        step = generator.integers(-_NEAR, _NEAR + 1, len(open_))
        drawn = order[np.clip(place[item[open_]] + step, 0, len(order) - 1)]
        fresh = ~np.isin(owner[open_] * width + drawn, known)
        out[open_[fresh]] = drawn[fresh]
    return out


def judge_clicks(
    arm: Arm, window: Window, pairs: Shown
) -> tuple[pl.DataFrame | None, list[ResultRow]]:
    """AUC per user as contracts.USER_METRICS, and calibration rows where there are impressions.

    An arm that gives no dense scores (a baseline) is left out.
    """
    dense = getattr(arm.ranker, "scores", None)
    if dense is None or not len(pairs.user):
        return None, []
    scores = _scores(dense, window, pairs)
    starts = np.flatnonzero(np.diff(pairs.user, prepend=-1))
    each = [
        (int(pairs.user[part[0]]), metrics.auc(scores[part], pairs.taken[part]))
        for part in np.split(np.arange(len(scores)), starts[1:])
    ]
    judged = [(user, value) for user, value in each if value is not None]
    frame = pl.DataFrame(
        {
            "arm": pl.Series([arm.name] * len(judged), dtype=pl.String),
            "seed": pl.Series([arm.seed] * len(judged), dtype=pl.Int64),
            "user_key": [window.user_keys[user] for user, _ in judged],
            "slice": pl.Series(["overall"] * len(judged), dtype=pl.String),
            "metric": pl.Series([pairs.metric] * len(judged), dtype=pl.String),
            "value": pl.Series([value for _, value in judged], dtype=pl.Float64),
        },
        schema_overrides={"user_key": pl.String},
    )
    if pairs.metric != AUC_IMPRESSIONS:
        return frame, []
    return frame, _calibration(arm.name, scores, pairs)


def _scores(dense: Any, window: Window, pairs: Shown) -> Floats:
    """The arm's score of each pair, users in blocks."""
    out = np.empty(len(pairs.user))
    users = np.unique(pairs.user)
    block = int(np.clip(BLOCK_CELLS // max(len(window.natural), 1), 1, 512))
    for start in range(0, len(users), block):
        part = users[start : start + block]
        matrix = dense(window.histories.take(part))
        inside = (pairs.user >= part[0]) & (pairs.user <= part[-1])
        out[inside] = matrix[np.searchsorted(part, pairs.user[inside]), pairs.item[inside]]
    return out


def _calibration(arm: str, scores: Floats, pairs: Shown) -> list[ResultRow]:
    """ECE and log loss after Platt scaling (Platt, 1999), fitted on the other half of the users."""
    half = pairs.user % 2 == 0
    probability = np.empty(len(scores))
    for part in (half, ~half):
        other = ~part
        if pairs.taken[other].all() or not pairs.taken[other].any():
            return []  # one class only: nothing to fit
        probability[part] = _platt(scores[other], pairs.taken[other], scores[part])
    values = {
        "ece": metrics.calibration_error(probability, pairs.taken),
        "log_loss": metrics.log_loss(probability, pairs.taken),
    }
    n = len(np.unique(pairs.user))
    return [
        ResultRow(arm=arm, slice="overall", metric=name, value=value, n=n)
        for name, value in values.items()
    ]


def _platt(scores: Floats, taken: npt.NDArray[np.bool_], at: Floats) -> Floats:
    """Probabilities of `at` by a logistic fit of `taken` on `scores`, by Newton steps."""
    mean, spread = scores.mean(), max(float(scores.std()), 1e-9)
    x = np.stack([(scores - mean) / spread, np.ones(len(scores))], axis=1)
    weights = np.zeros(2)
    ridge = np.diag([1e-3, 1e-6])  # keeps a perfectly separable half finite
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - taken) + ridge @ weights
        weights -= np.linalg.solve((x.T * (p * (1 - p))) @ x + ridge, gradient)
    z = weights[0] * (at - mean) / spread + weights[1]
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))
