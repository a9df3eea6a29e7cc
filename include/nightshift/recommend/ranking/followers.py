"""What customers came to within a few events of an item: counted, as item-kNN does.

A network of some dozens of dims generalises and forgets: that the seven customers of a rare item
all went on to one other is a count, not a direction. Item-to-item counts (Linden et al., 2003),
with the order kept, are added to its scores. An item nobody has bought follows nothing: its place
is the network's and its text's business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from nightshift.histories import Histories
from nightshift.ranking import Codes
from nightshift.recommend.ranking.user_side import recent_items

_REACH, _FADE = 10, 0.8
"""Events that count as near, and how much of a nearer one's weight the next one has."""
_BACKWARDS = 0.4
"""What b before a says of b after a: carts and days have no order."""
MOST = 50
"""Followers of an item that are kept."""
_AT_ONCE = 100_000
"""Events whose pairs are held at a time."""


@dataclass(frozen=True, slots=True)
class Followers:
    """The strongest followers of each item."""

    table: sparse.csr_matrix
    """[items, items] float32: how strongly the column follows the row, 0 where it is not kept."""

    @classmethod
    def count(cls, histories: Histories, n_items: int) -> Self:
        """Counted in what customers did; strength(a, b) is count / √(events of a · events of b).

        Items go through in blocks, so that what is held of pairs does not grow with the events:
        there are twenty pairs to one, and most are dropped.
        """
        items = histories.items
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        events = np.bincount(items, minlength=n_items)
        by_item, ends = np.argsort(items, kind="stable"), np.cumsum(events)
        blocks = [sparse.csr_matrix((0, n_items), dtype=np.float32)]
        first = 0
        while first < n_items:
            begun = ends[first] - events[first]
            last = max(int(np.searchsorted(ends, begun + _AT_ONCE, side="right")), first + 1)
            places = by_item[begun : ends[last - 1]]
            near = _near(places, items, users, first, (last - first, n_items))
            blocks.append(_strongest(near, first, events))
            first = last
        return cls(sparse.vstack(blocks, format="csr"))

    def side(self, histories: Histories) -> sparse.csr_matrix:
        """What follows the last items of each user, newer ones counting more: [users, items]."""
        last, weights = recent_items(histories)  # [users, 10] each
        rows, places = np.nonzero(weights)
        shape = (len(last), self.table.shape[0])
        counts = (weights[rows, places], (rows, last[rows, places]))
        return sparse.csr_matrix(counts, shape=shape) @ self.table


def _near(
    places: npt.NDArray[np.int64],
    items: Codes,
    users: npt.NDArray[np.int64],
    first: int,
    shape: tuple[int, int],
) -> sparse.coo_matrix:
    """Weights of what is near some events, which are of the items from `first` on."""
    found = sparse.csr_matrix(shape, dtype=np.float32)
    for step in (*range(-_REACH, 0), *range(1, _REACH + 1)):
        others = places + step
        inside = (others >= 0) & (others < len(items))
        mine, theirs = places[inside], others[inside]
        pairs = (users[mine] == users[theirs]) & (items[mine] != items[theirs])
        weight = _FADE ** (abs(step) - 1) * (1.0 if step > 0 else _BACKWARDS)
        rows, columns = items[mine[pairs]] - first, items[theirs[pairs]]
        weights = np.full(len(rows), weight, dtype=np.float32)
        found = found + sparse.csr_matrix((weights, (rows, columns)), shape=shape)
    return found.tocoo()


def _strongest(
    near: sparse.coo_matrix, first: int, events: npt.NDArray[np.int64]
) -> sparse.csr_matrix:
    """The `MOST` strongest of each row, the smallest codes of equals."""
    strength = near.data / np.sqrt(events[near.row + first] * events[near.col])
    order = np.lexsort((near.col, -strength, near.row))
    rank = np.arange(len(order)) - np.searchsorted(near.row[order], near.row[order])
    kept = order[rank < MOST]
    return sparse.csr_matrix(
        (strength[kept].astype(np.float32), (near.row[kept], near.col[kept])), shape=near.shape
    )


_KEPT: dict[bytes, Followers] = {}
"""The last ones counted: all arms of a night, and all trials of a tuning, ask for the same."""


def followers_of(histories: Histories, n_items: int) -> Followers:
    """`Followers.count`, once for the same events."""
    key = hashlib.blake2b(np.ascontiguousarray(histories.items).data)
    key.update(np.ascontiguousarray(histories.indptr).data)
    key.update(str(n_items).encode())
    digest = key.digest()
    if digest not in _KEPT:
        _KEPT.clear()
        _KEPT[digest] = Followers.count(histories, n_items)
    return _KEPT[digest]
