"""Paired bootstrap intervals over users: of a difference and of the relative lift.

A resample gives each user a Poisson(1) weight. For a ratio of sums, which a relative lift is, this
equals the multinomial bootstrap up to O(1/n) (Hanley & MacGibbon, 2006; Chamandy et al., 2012), and
all comparisons of the same users share one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
_BLOCK_CELLS = 1 << 21  # weights held at once: 8 MB of float32
_DETECTABLE = 1.959964 + 0.841621  # two-sided 5 %, power 80 %


@dataclass(frozen=True, slots=True)
class Interval:
    """A paired comparison. `low`, `high` bound `relative`; `value_low`, `value_high` bound `value`.

    `relative` is None when the baseline's mean is 0, `low`/`high` also when a bound is not finite
    (the baseline is 0 in too many resamples); the interval of the difference is always there.
    `detectable` is the relative lift that this many users would show with 80 % power.
    """

    value: float
    relative: float | None
    low: float | None
    high: float | None
    n: int
    value_low: float
    value_high: float
    detectable: float | None


def _poisson_table() -> npt.NDArray[np.float32]:
    """Poisson(1) quantiles of the 65,536 midpoints: a 16-bit draw becomes a weight by look-up."""
    cumulative = np.cumsum([math.exp(-1) / math.factorial(w) for w in range(12)])
    midpoints = (np.arange(1 << 16) + 0.5) / (1 << 16)
    return np.searchsorted(cumulative, midpoints).astype(np.float32)


def paired_bootstrap(
    difference: Floats,
    baseline: Floats,
    *,
    resamples: int = 10_000,
    seed: int,
    clusters: npt.NDArray[np.generic] | None = None,
) -> Interval:
    """Percentile interval of mean(difference) and of mean(difference) / mean(baseline).

    Args:
        difference: [n] arm minus baseline, one row a user (seeds averaged before).
        baseline: [n] the baseline's values of the same rows.
        clusters: [n] the user of each row when rows are user-nights: users are resampled whole.
    """
    return paired_bootstraps(
        difference[:, None], baseline[:, None], resamples=resamples, seed=seed, clusters=clusters
    )[0]


def paired_bootstraps(
    differences: Floats,
    baselines: Floats,
    *,
    resamples: int = 10_000,
    seed: int,
    clusters: npt.NDArray[np.generic] | None = None,
) -> list[Interval]:
    """Like `paired_bootstrap`, for m comparisons on the same resamples: [n, m] each.

    A row that is NaN in a comparison does not count in it. `n` counts clusters.

    Raises:
        ValueError: a comparison without any row.
    """
    present = ~np.isnan(differences)
    if not present.any(axis=0).all():
        raise ValueError("a comparison has no rows")
    difference, baseline = np.where(present, differences, 0.0), np.where(present, baselines, 0.0)
    rows = present.astype(np.float64)
    m = differences.shape[1]
    columns = np.concatenate([difference, baseline, rows], axis=1)
    if clusters is not None:
        columns = _sum_by(columns, clusters)
    n = (columns[:, 2 * m :] > 0).sum(axis=0)
    sums = columns.sum(axis=0)
    drawn = _resampled_sums(columns, resamples, seed)
    return [
        _interval(sums[[j, m + j, 2 * m + j]], drawn[:, [j, m + j, 2 * m + j]], int(n[j]))
        for j in range(m)
    ]


def _sum_by(columns: Floats, clusters: npt.NDArray[np.generic]) -> Floats:
    """Rows of one cluster added up: a mean over rows stays a ratio of sums."""
    _, inverse = np.unique(clusters, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.flatnonzero(np.diff(inverse[order], prepend=-1))
    return np.add.reduceat(columns[order], starts, axis=0)


def _resampled_sums(columns: Floats, resamples: int, seed: int) -> Floats:
    """Poisson-weighted column sums: [resamples, columns]."""
    generator = np.random.default_rng(seed)
    table = _poisson_table()
    n = len(columns)
    matrix = columns.astype(np.float32)
    block = max(1, min(resamples, _BLOCK_CELLS // n))
    sums = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        draws = generator.integers(0, 1 << 16, size=(count, n), dtype=np.uint16)
        sums[start : start + count] = table[draws] @ matrix
    return sums


def _interval(sums: Floats, drawn: Floats, n: int) -> Interval:
    """From (difference, baseline, rows) sums, and the same of each resample."""
    drawn = drawn[drawn[:, 2] > 0]
    outside = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    value_low, value_high = np.quantile(drawn[:, 0] / drawn[:, 2], outside)
    relative = low = high = detectable = None
    if sums[1] > 0:
        relative = float(sums[0] / sums[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            lifts = np.nan_to_num(drawn[:, 0] / drawn[:, 1], nan=0.0, posinf=np.inf, neginf=-np.inf)
        bounds = np.quantile(lifts, outside, method="inverted_cdf")
        if np.isfinite(bounds).all():
            low, high = float(bounds[0]), float(bounds[1])
        if np.isfinite(lifts).all():
            detectable = float(_DETECTABLE * lifts.std())
    return Interval(
        value=float(sums[0] / sums[2]),
        relative=relative,
        low=low,
        high=high,
        n=n,
        value_low=float(value_low),
        value_high=float(value_high),
        detectable=detectable,
    )
