"""Where customers lie in a latent space: a mixture of Gaussians, and which of them a kind favours.

A decoder is good where it was trained: around the encoded customers, which do not fill the prior
(the "holes" of Tomczak & Welling, 2018). A mixture fitted to them keeps to where they are, without
standing on any one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PARTS = 64
_FEWEST = 20
"""Encoded customers per Gaussian at least: a Gaussian of one customer would be that customer."""
_SMOOTHING = 5.0
"""Customers of the whole shop that are added to those of a kind, to say which part it favours."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Axis-parallel Gaussians."""

    means: Floats  # [parts, Z]
    deviations: Floats  # [parts, Z]
    cumulative: Floats  # [kinds, parts] of each kind's parts

    @classmethod
    def fit(cls, means: Floats, variances: Floats, kind: Ints, n_kinds: int, seed: int) -> Self:
        """k-means, then each group's own mean and variance (spread of means + mean of variances).

        Args:
            means: [n, Z] of encoded customers, with their variances [n, Z].
            kind: [n] what the choice of a part depends on.
        """
        from scipy.cluster.vq import kmeans2

        parts = int(np.clip(len(means) // _FEWEST, 1, _PARTS))
        _, part = kmeans2(means, parts, minit="++", seed=np.random.default_rng([seed, 53]))
        _, part = np.unique(part, return_inverse=True)
        parts = int(part.max()) + 1
        count = np.bincount(part).astype(np.float64)
        centres, widths = np.zeros((parts, means.shape[1])), np.zeros((parts, means.shape[1]))
        np.add.at(centres, part, means)
        centres /= count[:, None]
        np.add.at(widths, part, (means - centres[part]) ** 2 + variances)
        together = np.zeros((n_kinds, parts))
        np.add.at(together, (kind, part), 1.0)
        favoured = together + _SMOOTHING * count / count.sum()
        cumulative = np.cumsum(favoured, axis=1)
        return cls(centres, np.sqrt(widths / count[:, None]), cumulative / cumulative[:, -1:])

    def draw(self, kind: Ints, uniform: Floats, normal: Floats) -> Floats:
        """[n], [n] in (0, 1), [n, Z] standard normal -> [n, Z]."""
        part = (uniform[:, None] > self.cumulative[kind]).sum(axis=1)
        drawn: Floats = self.means[part] + self.deviations[part] * normal
        return drawn
