"""Popularity of the last seven days, then of all time, then by a seeded shuffle."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores
from nightshift.snapshot import Snapshot

_TIE_SEED = 7


class Popularity:
    """The same list for everyone, less what a user had where items do not repeat."""

    def __init__(self, recent: npt.NDArray[np.int64], ever: npt.NDArray[np.int64]) -> None:
        n = len(recent)
        shuffle = np.random.default_rng(_TIE_SEED).permutation(n)
        self.order = np.lexsort((shuffle, -ever, -recent)).astype(np.int32)  # best first
        self.prior = np.empty(n, dtype=np.float32)  # [items] in (0, 1]: 1 for the most popular
        self.prior[self.order] = 1 - np.arange(n, dtype=np.float32) / max(n, 1)

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        return cls(snapshot.items["events_7d"].to_numpy(), snapshot.item_events)

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `Ranker`. Nobody can have seen more than the longest history: look no further."""
        order = self.order if candidates is None else self.order[candidates[self.order]]
        users, deepest = len(histories), 0
        if exclude_seen and users:
            deepest = int(histories.lengths.max())
        order = order[: k + deepest]
        seen = np.zeros((users, len(order)), dtype=np.bool_)
        if exclude_seen:
            place = np.full(len(self.prior), -1)
            place[order] = np.arange(len(order))
            column = place[histories.items]
            row = np.repeat(np.arange(users), histories.lengths)
            seen[row[column >= 0], column[column >= 0]] = True
        first = np.argsort(seen, axis=1, kind="stable")[:, :k]
        hidden = np.take_along_axis(seen, first, axis=1)
        codes = np.where(hidden, np.int32(-1), order[first])
        scores = np.where(hidden, np.float32(-np.inf), self.prior[order[first]])
        return codes.astype(np.int32), scores.astype(np.float32)
