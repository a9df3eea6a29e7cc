"""A Gaussian copula: margins as they were seen, dependence by the correlation of normal scores.

Sklar, 1959; Song, 2000. Margins are empirical, so no distribution is assumed of any column. Equal
values share the mean of their normal scores; that such a column varies less than a normal one is
made up for, so that counts and flags keep the correlation of what lies behind them (polyserial
correlation, Olsson, Drasgow & Dorans, 1982; exact with one discrete column of a pair, the first
term of a series with two). Jittered ranks instead lost half of a flag's correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MIN_EIGENVALUE = 1e-6
_MIN_VARIANCE = 0.05
"""Of a column's normal scores: one that varies less has too little to say of what goes with it."""


@dataclass(frozen=True, slots=True)
class GaussianCopula:
    """Margins by group of rows, one correlation for all.

    Each group has margins of its own; that the dependence is the same in all of them is the
    simplifying assumption of conditional copulas.
    """

    PARTS: ClassVar = ("correlation", "values", "indptr", "discrete")

    correlation: Floats  # [columns, columns]
    values: Floats  # [rows, columns], each column sorted within each group
    indptr: Ints  # [groups + 1], rows of each group; none of them empty
    discrete: npt.NDArray[np.bool_]  # [columns] draw seen values only, nothing in between

    @classmethod
    def fit(cls, values: Floats, groups: Ints, discrete: npt.NDArray[np.bool_]) -> GaussianCopula:
        """
        Args:
            values: [rows, columns], finite.
            groups: [rows], 0 to the number of groups - 1, each with a row.
            discrete: [columns] draw seen values only, nothing in between.
        """
        order = np.argsort(groups, kind="stable")
        values = values[order]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(groups))]).astype(np.int64)
        scores, in_order = np.empty_like(values), np.empty_like(values)
        for first, last in pairwise(indptr):
            in_order[first:last] = np.sort(values[first:last], axis=0)
            for column in range(values.shape[1]):
                scores[first:last, column] = _normal_scores(values[first:last, column])
        return cls(nearest_correlation(_correlation(scores)), in_order, indptr, discrete)

    def draw(self, numbers: Floats, groups: Ints) -> Floats:
        """A row for each row of numbers: [rows, columns].

        Args:
            numbers: uniform in (0, 1), independent: [rows, columns].
            groups: [rows] whose margins a row has.
        """
        root = np.linalg.cholesky(self.correlation)
        level = ndtr(ndtri(numbers) @ root.T)
        count = np.diff(self.indptr)[groups][:, None]
        first = self.indptr[groups][:, None]
        place = np.clip(level * count - 0.5, 0, count - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, count - 1)
        columns = np.arange(self.values.shape[1])
        at_low, at_high = self.values[first + low, columns], self.values[first + high, columns]
        between = at_low + (at_high - at_low) * (place - low)
        nearest = np.clip(np.floor(level * count).astype(np.int64), 0, count - 1)
        drawn: Floats = np.where(self.discrete, self.values[first + nearest, columns], between)
        return drawn


def nearest_correlation(matrix: Floats) -> Floats:
    """A positive definite correlation matrix near a symmetric one: eigenvalues clipped from below.

    Rebonato & Jäckel, 1999.
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    clipped = (vectors * np.maximum(values, _MIN_EIGENVALUE)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(clipped))
    found: Floats = clipped * scale[:, None] * scale[None, :]
    return found


def _normal_scores(values: Floats) -> Floats:
    """Each value's quantile of the normal distribution; equal values share their mean: [rows]."""
    rising = np.argsort(values, kind="stable")
    quantiles = ndtri((np.arange(len(values)) + 0.5) / len(values))
    _, which, count = np.unique(values[rising], return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=quantiles) / count
    scores = np.empty(len(values))
    scores[rising] = means[which]
    return scores


def _correlation(scores: Floats) -> Floats:
    """Of the normal variables behind the scores; a constant column goes with nothing."""
    centred = scores - scores.mean(axis=0)
    covariance = centred.T @ centred / len(scores)
    variance = np.maximum(np.diag(covariance), _MIN_VARIANCE)
    found: Floats = np.clip(covariance / (variance[:, None] * variance[None, :]), -1, 1)
    np.fill_diagonal(found, 1.0)
    return found
