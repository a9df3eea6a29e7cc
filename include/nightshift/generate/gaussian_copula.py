"""A Gaussian copula: margins as they were seen, dependence by the correlation of normal scores.

Sklar, 1959; Song, 2000. Margins are empirical, so no distribution is assumed of any column. Ranks
of equal values are jittered (the continuous extension of Denuit & Lambert, 2005), which makes the
copula of a discrete column well defined and its correlations a little too small.
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
    def fit(
        cls, values: Floats, groups: Ints, jitter: Floats, discrete: npt.NDArray[np.bool_]
    ) -> GaussianCopula:
        """
        Args:
            values: [rows, columns], finite.
            groups: [rows], 0 to the number of groups - 1, each with a row.
            jitter: [rows, columns] uniform noise that orders equal values.
        """
        order = np.argsort(groups, kind="stable")
        values, jitter = values[order], jitter[order]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(groups))]).astype(np.int64)
        scores, in_order = np.empty_like(values), np.empty_like(values)
        for first, last in pairwise(indptr):
            for column in range(values.shape[1]):
                mine, noise = values[first:last, column], jitter[first:last, column]
                rising = np.lexsort((noise, mine))
                in_order[first:last, column] = mine[rising]
                rank = np.empty(last - first)
                rank[rising] = np.arange(last - first)
                scores[first:last, column] = ndtri((rank + 0.5) / (last - first))
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


def _correlation(scores: Floats) -> Floats:
    """Of columns that may be constant (a single row): those go with nothing."""
    spread = scores.std(axis=0)
    standard = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    found: Floats = standard.T @ standard / max(len(scores), 1)
    np.fill_diagonal(found, 1.0)
    return found
