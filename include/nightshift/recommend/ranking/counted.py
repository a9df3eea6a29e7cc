"""Terms of a score that are counts, not products: of few items for each user, so sparse."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from nightshift.histories import Histories
from nightshift.ranking import Scores
from nightshift.recommend.ranking.followers import Followers

Counts: TypeAlias = sparse.csr_matrix
"""[users, items], float32, every pair once."""
OWN, FOLLOWERS = "own", "followers"
_HALF_LIFE = 60 * 24 * 3600 * 1e6
"""An own event counts half as much after 60 days (microseconds, back from the user's newest)."""


def counted_sides(
    histories: Histories,
    n_items: int,
    *,
    gamma: float,
    follow: float,
    followers: Followers | None,
) -> dict[str, Counts]:
    """The counted terms that have a weight, times it, by name."""
    sides = {}
    if gamma:
        sides[OWN] = np.float32(gamma) * own_items(histories, n_items)
    if follow and followers is not None:
        sides[FOLLOWERS] = np.float32(follow) * followers.side(histories)
    return sides


def own_items(histories: Histories, n_items: int) -> Counts:
    """log(1 + decayed count) of each user's own items."""
    shape = (len(histories), n_items)
    if not len(histories.items):
        return sparse.csr_matrix(shape, dtype=np.float32)
    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    newest = histories.times[np.maximum(histories.indptr[1:] - 1, 0)]
    weight = 0.5 ** ((newest[rows] - histories.times) / _HALF_LIFE)
    counts = sparse.csr_matrix((weight, (rows, histories.items)), shape=shape)
    return counts.log1p().astype(np.float32)


def total(sides: dict[str, Counts]) -> Counts | None:
    """All of them added up; None without any."""
    if not sides:
        return None
    first, *others = sides.values()
    for other in others:
        first = first + other
    return first


def add(counts: Counts, items: slice | npt.NDArray[np.int64], scores: Scores) -> None:
    """Add what was counted of some items to their scores [users, items asked for], in place."""
    part = counts[:, items].tocoo()
    scores[part.row, part.col] += part.data
