"""Groups of unequal size as flat arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def expand(indptr: Ints, groups: npt.NDArray[np.integer]) -> tuple[Ints, Ints, Ints]:
    """Every member of every asked group.

    Args:
        indptr: group g lies at indptr[g]:indptr[g + 1].
        groups: the groups asked for, repeats allowed, [n].

    Returns:
        For each member: which of the n asked (row), its rank in the group, its flat place.
    """
    counts = indptr[groups + 1] - indptr[groups]
    row = np.repeat(np.arange(len(groups)), counts)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    rank = np.arange(len(row)) - np.repeat(starts, counts)
    return row, rank, indptr[groups][row] + rank


def first_of_groups(*keys: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Where a new combination of keys starts, in rows sorted by them: [rows]."""
    first = np.ones(len(keys[0]), dtype=np.bool_)
    if len(first):
        first[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return first


def rank_in_groups(key: npt.NDArray[np.integer]) -> Ints:
    """0, 1, 2 … inside each run of equal keys: [rows]."""
    starts = np.flatnonzero(first_of_groups(key))
    sizes = np.diff(np.append(starts, len(key)))
    return np.arange(len(key)) - np.repeat(starts, sizes)
