"""Made-up sequences that some customer really had: found by hashing, dropped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.hashing import Hashes, combine, splitmix

SHORTEST = 3
"""Two items in a row are nobody's secret; three or more that are a customer's are that customer."""
_BLOCK = 1 << 20
"""Events hashed together: memory is flat in their number."""


def copied(rows: npt.NDArray[np.int32], behaviour: Behaviour) -> npt.NDArray[np.bool_]:
    """Which sequences are, item by item, a whole stretch of somebody's history: [n].

    Args:
        rows: [n, length] item rows, -1 behind the last.
    """
    lengths = (rows >= 0).sum(axis=1)
    found = np.zeros(len(rows), dtype=np.bool_)
    item_hashes = splitmix(np.arange(len(behaviour.codes), dtype=np.uint64))
    for length in np.unique(lengths[lengths >= SHORTEST]):
        of_length = np.flatnonzero(lengths == length)
        wanted = _chained(item_hashes[rows[of_length, :length]].T)
        had = np.zeros(len(of_length), dtype=np.bool_)
        for hashes in _windows(behaviour, int(length), item_hashes):
            had |= np.isin(wanted, hashes)
        found[of_length] = had
    return found


def _chained(hashes: Hashes) -> Hashes:
    """One hash of each column of item hashes: [length, n] -> [n]."""
    whole: Hashes = hashes[0]
    for column in hashes[1:]:
        whole = combine(whole, column)
    return whole


def _windows(behaviour: Behaviour, length: int, item_hashes: Hashes) -> Iterator[Hashes]:
    """The hashes of all stretches of this length, block by block."""
    owner_ends = behaviour.indptr[1:]
    for first in range(0, len(behaviour.rows) - length + 1, _BLOCK):
        starts = np.arange(first, min(first + _BLOCK, len(behaviour.rows) - length + 1))
        owner = np.searchsorted(owner_ends, starts, side="right")
        starts = starts[starts + length <= owner_ends[owner]]  # no stretch of two customers
        yield _chained(
            np.stack([item_hashes[behaviour.rows[starts + step]] for step in range(length)])
        )
