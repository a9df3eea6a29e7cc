"""What a customer's history is about, as one vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.inspection.facts import Facts


def history_centres(facts: Facts, users: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The mean vector of each user's distinct items, unit length: [users, width].

    Zero for a user without any: nothing is near it. One user's history is in memory at a time.

    Args:
        users: codes that the snapshot lists, repeats allowed.
    """
    distinct, of_row = np.unique(users, return_inverse=True)
    n_items = max(len(facts.vectors), 1)
    starts = np.searchsorted(facts.pairs, distinct * n_items)
    ends = np.searchsorted(facts.pairs, (distinct + 1) * n_items)
    centres = np.zeros((len(distinct), facts.vectors.shape[1]), dtype=np.float32)
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if end > start:
            centres[row] = facts.vectors[facts.pairs[start:end] % n_items].mean(axis=0)
    norms = np.linalg.norm(centres, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (centres / np.maximum(norms, np.float32(1e-6)))[of_row]
    return unit
