"""Who last had a text, and where in the histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightshift.generate.ragged import first_of_groups, rank_in_groups

_MOST = 64
"""Users kept per text, the most recent ones; bounds memory at popular texts."""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The users of text t lie at indptr[t]:indptr[t + 1], the most recent first, each once."""

    indptr: npt.NDArray[np.int64]  # [texts + 1]
    users: npt.NDArray[np.int64]  # [rows]
    positions: npt.NDArray[np.int64]  # [rows] flat positions in the histories


def latest_occurrences(
    texts: npt.NDArray[np.int32],
    users: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    *,
    n_texts: int,
) -> Occurrences:
    """The latest occurrence of each (text, user) among events sorted by user and time.

    Args:
        positions: where each event lies in the histories.
    """
    order = np.lexsort((-np.arange(len(texts)), users, texts))
    last = order[first_of_groups(texts[order], users[order])]
    order = last[np.lexsort((users[last], -times[last], texts[last]))]
    kept = order[rank_in_groups(texts[order]) < _MOST]
    indptr = np.zeros(n_texts + 1, dtype=np.int64)
    np.cumsum(np.bincount(texts[kept], minlength=n_texts), out=indptr[1:])
    return Occurrences(indptr, users[kept], positions[kept])
