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
from scipy import sparse

from nightshift.histories import Histories
from nightshift.recommend.ranking.user_side import recent_items

_REACH, _FADE = 10, 0.8
"""Events that count as near, and how much of a nearer one's weight the next one has."""
_BACKWARDS = 0.4
"""What b before a says of b after a: carts and days have no order."""
MOST = 50
"""Followers of an item that are kept."""


@dataclass(frozen=True, slots=True)
class Followers:
    """The strongest followers of each item."""

    table: sparse.csr_matrix
    """[items, items] float32: how strongly the column follows the row, 0 where it is not kept."""

    @classmethod
    def count(cls, histories: Histories, n_items: int) -> Self:
        """Counted in what customers did; strength(a, b) is count / √(events of a · events of b).

        Memory grows with the pairs of items that were near each other, not with the events.
        """
        items = histories.items
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        near = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
        for gap in range(1, min(_REACH, max(len(items) - 1, 0)) + 1):
            same = users[:-gap] == users[gap:]
            pairs = items[:-gap][same], items[gap:][same]
            weight = np.full(len(pairs[0]), _FADE ** (gap - 1), dtype=np.float32)
            near = near + sparse.csr_matrix((weight, pairs), shape=near.shape)
        near = (near + _BACKWARDS * near.T).tocoo()
        other = near.row != near.col
        first, second = near.row[other], near.col[other]
        events = np.bincount(items, minlength=n_items).astype(np.float32)
        strength = near.data[other] / np.sqrt(events[first] * events[second])
        order = np.lexsort((second, -strength, first))
        rank = np.arange(len(order)) - np.searchsorted(first[order], first[order])
        kept = order[rank < MOST]
        return cls(
            sparse.csr_matrix((strength[kept], (first[kept], second[kept])), shape=near.shape)
        )

    def side(self, histories: Histories) -> sparse.csr_matrix:
        """What follows the last items of each user, newer ones counting more: [users, items]."""
        last, weights = recent_items(histories)  # [users, 10] each
        rows = np.repeat(np.arange(len(last)), last.shape[1])
        shape = (len(last), self.table.shape[0])
        return sparse.csr_matrix((weights.ravel(), (rows, last.ravel())), shape=shape) @ self.table


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
