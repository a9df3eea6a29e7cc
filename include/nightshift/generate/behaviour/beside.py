"""What is taken right beside an item: co-occurrence within a few events of one history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightshift.generate.ragged import first_of_groups, rank_in_groups
from nightshift.histories import Histories

_REACH = 2
"""Events on either side that count as beside."""
_MIN_TIMES = 3
"""Beside each other less often may be chance."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The companions of each item, the most telling first."""

    items: npt.NDArray[np.int32]  # [items, k], -1 behind the last
    cosines: npt.NDArray[np.float32]  # [items, k]


def companions(histories: Histories, *, n_items: int, k: int) -> Beside:
    """The k items whose cosine of co-occurrence with each item is highest.

    cosine(i, j) = pairs(i, j) / sqrt(pairs(i) · pairs(j)), a pair being two different items at
    most `_REACH` events apart (item-to-item collaborative filtering: Linden et al., 2003).
    """
    counts = _pair_counts(histories, n_items)
    left, right, times = counts
    total = np.bincount(left, weights=times, minlength=n_items)
    often = times >= _MIN_TIMES
    left, right, times = left[often], right[often], times[often]
    cosine = times / np.sqrt(total[left] * total[right])
    order = np.lexsort((right, -cosine, left))
    rank = rank_in_groups(left[order])
    kept, rank = order[rank < k], rank[rank < k]
    items = np.full((n_items, k), -1, dtype=np.int32)
    cosines = np.zeros((n_items, k), dtype=np.float32)
    items[left[kept], rank] = right[kept]
    cosines[left[kept], rank] = cosine[kept]
    return Beside(items, cosines)


def _pair_counts(
    histories: Histories, n_items: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every ordered pair (left, right) that is beside each other, and how often."""
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    items = histories.items.astype(np.int64)
    found = []
    for step in range(1, _REACH + 1):
        same = users[:-step] == users[step:]
        first, second = items[:-step][same], items[step:][same]
        different = first != second
        found.append(first[different] * n_items + second[different])
        found.append(second[different] * n_items + first[different])
    pairs = np.sort(np.concatenate(found))
    starts = np.flatnonzero(first_of_groups(pairs))
    times = np.diff(np.append(starts, len(pairs)))
    return pairs[starts] // n_items, pairs[starts] % n_items, times
