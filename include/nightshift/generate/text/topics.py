"""What stands for categories in a shop that has none: clusters of the items' texts."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_AXES = 32
"""Principal axes of the texts that are clustered: the rest is noise to a mean."""


def topics(vectors: npt.NDArray[np.float32], k: int, seed: int) -> Ints:
    """The cluster of each text, 0 to k - 1: [texts]. k-means++ (Arthur & Vassilvitskii, 2007)."""
    from scipy.cluster.vq import kmeans2

    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    narrow = centred @ axes[:, ::-1][:, :_AXES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a cluster that became empty: it has no item, then
        _, label = kmeans2(narrow, min(k, len(narrow)), minit="++", seed=seed)
    found: Ints = label.astype(np.int64)
    return found
