"""Is a made-up history a copy of a real one: the same items in the same order, without a gap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.sequences import Ints, Items, lengths_of
from nightshift.generate.hashing import Hashes, combine

MIN_ITEMS = 3
"""Two items in a row are nobody's in particular."""


class RealStretches:
    """Every stretch of `MIN_ITEMS` in the histories, by hash; longer ones are compared in full.

    Args:
        indptr: [customers + 1] where each history starts in `items`.
        items: [events] item codes, or rows of whatever table the sequences are in.
    """

    def __init__(self, indptr: Ints, items: npt.NDArray[np.int32]) -> None:
        self._items = items
        self._ends = np.repeat(indptr[1:], np.diff(indptr))
        starts = np.arange(max(len(items) - MIN_ITEMS + 1, 0))
        starts = starts[starts + MIN_ITEMS <= self._ends[starts]]
        first, second, third = (items[starts + n].astype(np.uint64) for n in range(MIN_ITEMS))
        hashes = _of_three(first, second, third)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._starts = hashes[order], starts[order]

    def holds(self, items: Items) -> npt.NDArray[np.bool_]:
        """[sequences] does any real history hold it from its first to its last item, in a row.

        A sequence of fewer than `MIN_ITEMS` items is never called a copy.
        """
        found = np.zeros(len(items), dtype=np.bool_)
        lengths = lengths_of(items)
        long = np.flatnonzero(lengths >= MIN_ITEMS)
        if not len(long) or not len(self._starts):
            return found
        head = items[long, :MIN_ITEMS].astype(np.uint64)
        hashes = _of_three(head[:, 0], head[:, 1], head[:, 2])
        first = np.searchsorted(self._hashes, hashes, side="left")
        last = np.searchsorted(self._hashes, hashes, side="right")
        counts = last - first
        row = np.repeat(long, counts)
        slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = self._starts[np.repeat(first, counts) + slot]
        same = start + lengths[row] <= self._ends[start]
        for place in range(items.shape[1]):
            at = np.minimum(start + place, len(self._items) - 1)
            same &= (items[row, place] == self._items[at]) | (place >= lengths[row])
        found[row[same]] = True
        return found


def _of_three(
    first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64], third: npt.NDArray[np.uint64]
) -> Hashes:
    return combine(combine(first, second), third)
