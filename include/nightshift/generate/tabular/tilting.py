"""Items drawn so that a history has given means: the least biased distribution that does.

Among all distributions over the items whose mean features are the asked ones, the one nearest to
the shop's own is its exponential tilt, weight(item) · exp(λ · features(item)) (Jaynes, 1957;
Csiszár, 1975). λ solves a convex problem in as many unknowns as there are features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PRECISION = 3.0
"""Of the normal prior of λ: customers differ from the shop about so much. With it a mean of few
items, mostly chance, tilts less, and one that lies where no items are leaves λ finite."""
_STEPS = 12
_LONGEST = 3.0
"""A Newton step moves λ no further than this."""
_TINY = 1e-12


def solve(features: Floats, weights: Floats, means: Floats, counts: Floats) -> Floats:
    """The most probable λ of each row, whose items had this mean: [rows, features].

    Args:
        features: of the items, standardised under `weights`: [items, features].
        weights: of the items, adding up to 1: [items].
        means: of the items of a row, in the same units: [rows, features].
        counts: of items behind each mean: [rows].
    """
    ridge = (_PRECISION / counts)[:, None]
    n_features = features.shape[1]
    squares = (features[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    tilt = np.zeros_like(means)
    for _ in range(_STEPS):
        share = tilted(features, weights, tilt)
        mean = share @ features
        second = (share @ squares).reshape(-1, n_features, n_features)
        curvature = (
            second - mean[:, :, None] * mean[:, None, :] + ridge[:, :, None] * np.eye(n_features)
        )
        step = np.linalg.solve(curvature, (means - mean - ridge * tilt)[:, :, None])[:, :, 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        tilt = tilt + step * np.minimum(1.0, _LONGEST / np.maximum(length, _TINY))
    return tilt


def tilted(features: Floats, weights: Floats, tilt: Floats) -> Floats:
    """The tilted weights, adding up to 1 in each row: [rows, items]."""
    logits = tilt @ features.T + np.log(np.maximum(weights, _TINY))
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def draw(shares: Floats, numbers: Floats) -> npt.NDArray[np.int64]:
    """Items with these shares, with replacement, one for each number in (0, 1): [rows, draws].

    Args:
        shares: adding up to 1 in each row: [rows, items].
    """
    edges = np.cumsum(shares, axis=1)
    edges /= edges[:, -1:]
    row = np.arange(len(shares))[:, None]
    flat = np.searchsorted((edges + row).ravel(), (numbers + row).ravel(), side="right")
    found: npt.NDArray[np.int64] = flat.reshape(numbers.shape) - row * shares.shape[1]
    return np.clip(found, 0, shares.shape[1] - 1)
