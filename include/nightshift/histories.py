"""What customers did, as flat arrays: the items of each, oldest first, in compressed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Histories:
    """Items of each user, oldest first, in compressed rows.

    `items[indptr[u]:indptr[u + 1]]` are the item codes of user u, `times` (microseconds since
    1970) beside them.
    """

    indptr: npt.NDArray[np.int64]  # [users + 1]
    items: npt.NDArray[np.int32]  # [events]
    times: npt.NDArray[np.int64]  # [events]
    users: npt.NDArray[np.int64] | None = None
    """[users] whose history each row is: user codes of the snapshot, -1 for somebody it does not
    know. None: rows of nobody in particular."""
    kinds: npt.NDArray[np.int8] | None = None
    """[events] 1 + place in contracts.EVENT_KINDS; None: not told."""
    targets: npt.NDArray[np.bool_] | None = None
    """[events] those that are learnt, not only read; None: all."""
    journey: Histories | None = None
    """The same users with all they did, for a model that reads more than targets; None: no more
    than this."""
    now: int = 0
    """When the next event is asked for (microseconds since 1970); 0: not told."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, user: int) -> npt.NDArray[np.int32]:
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.indptr)

    def last(self, length: int) -> npt.NDArray[np.int32]:
        """The last `length` items of every user, right-aligned, -1 in front: [users, length]."""
        position = self.indptr[1:, None] - np.arange(length, 0, -1)[None, :]
        inside = position >= self.indptr[:-1, None]
        if not len(self.items):
            return np.full((len(self), length), -1, dtype=np.int32)
        return np.where(inside, self.items[np.maximum(position, 0)], np.int32(-1))

    def take(self, users: npt.NDArray[np.int64]) -> Histories:
        """The histories of these users, in this order."""
        lengths = self.lengths[users]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        rows = np.repeat(self.indptr[users], lengths) + offsets
        whose = None if self.users is None else self.users[users]
        return replace(
            self,
            indptr=indptr,
            items=self.items[rows],
            times=self.times[rows],
            users=whose,
            kinds=None if self.kinds is None else self.kinds[rows],
            targets=None if self.targets is None else self.targets[rows],
            journey=None if self.journey is None else self.journey.take(users),
        )

    @classmethod
    def joined(cls, rows: Sequence[Histories]) -> Histories:
        """These below each other, asked at the first one's `now`; what one does not tell is 0."""
        journey = None
        if any(one.journey is not None for one in rows):
            journey = cls.joined([replace(one.read, journey=None) for one in rows])
        kinds, targets = None, None
        if any(one.kinds is not None for one in rows):
            kinds = np.concatenate(
                [np.zeros(len(r.items), np.int8) if r.kinds is None else r.kinds for r in rows]
            )
        if any(one.targets is not None for one in rows):
            targets = np.concatenate(
                [np.ones(len(r.items), np.bool_) if r.targets is None else r.targets for r in rows]
            )
        whose = [np.full(len(r), -1) if r.users is None else r.users for r in rows]
        return cls(
            np.concatenate([[0], np.cumsum(np.concatenate([one.lengths for one in rows]))]),
            np.concatenate([one.items for one in rows]),
            np.concatenate([one.times for one in rows]),
            np.concatenate(whose),
            kinds,
            targets,
            journey,
            rows[0].now,
        )

    def at(self, now: int) -> Histories:
        """The same, asked at this time."""
        journey = None if self.journey is None else self.journey.at(now)
        return replace(self, now=now, journey=journey)

    @property
    def read(self) -> Histories:
        """What a model reads of these users."""
        return self if self.journey is None else self.journey

    @classmethod
    def from_codes(
        cls,
        users: npt.NDArray[np.int64],
        items: npt.NDArray[np.int32],
        times: npt.NDArray[np.int64],
        *,
        n_users: int,
        whose: npt.NDArray[np.int64] | None = None,
        kinds: npt.NDArray[np.int8] | None = None,
    ) -> Histories:
        """From rows that are sorted by user already; `whose` as `users`."""
        indptr = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        return cls(indptr, items.astype(np.int32), times.astype(np.int64), whose, kinds)
