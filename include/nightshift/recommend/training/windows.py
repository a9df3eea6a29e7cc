"""Training rows as windows: a stretch of one user's history and the positions that count.

A window holds up to `max_length + 1` consecutive items: all but the last are inputs, each item
is the target of the position before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.recommend.model.signals import Signals, Small, gaps_of

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `[first, last)` of a batch of `of` rows: those that one rank computes."""

    first: int
    last: int
    of: int

    @property
    def rows(self) -> slice:
        return slice(self.first, self.last)

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows of L inputs.

    Position 0 is the start token; the state at position p predicts `targets[:, p]`.
    """

    inputs: Codes  # [B, L] item codes, -1 where there is none
    targets: Codes  # [B, L + 1] item codes, -1 where nothing is predicted
    lengths: Ints  # [B] inputs that count
    users: Ints  # [B]
    signals: Signals


@dataclass(frozen=True)
class Windows:
    """Windows over flat histories: items `[first, last)`, targets from `learn_from` on.

    Of a journey only the targets are learnt; the other events are read.
    """

    histories: Histories
    users: Ints
    first: Ints
    last: Ints
    learn_from: Ints
    """Index of the first item that may be a target."""

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def gaps(self) -> Small:
        return gaps_of(self.histories)

    @classmethod
    def cover(cls, histories: Histories, max_length: int) -> Windows:
        """Every history cut into consecutive windows, newest first: each item is a target once."""
        histories = histories.read
        counts = -(-histories.lengths // max_length)
        users = np.repeat(np.arange(len(histories)), counts)
        nth = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
        last = histories.indptr[users + 1] - nth * max_length
        learn_from = np.maximum(last - max_length, histories.indptr[users])
        # One more item in front gives the first target a history.
        first = np.maximum(learn_from - 1, histories.indptr[users])
        return cls(histories, users, first, last, learn_from)

    @classmethod
    def newest(cls, histories: Histories, new: Ints, max_length: int) -> Windows:
        """The newest window of each user, learning only its last `new[u]` items (0: no window).

        Args:
            new: counts of what the histories `read`.
        """
        histories = histories.read
        users = np.flatnonzero(new > 0)
        last = histories.indptr[users + 1]
        learn_from = np.maximum(last - np.minimum(new[users], max_length), histories.indptr[users])
        first = np.maximum(last - max_length - 1, histories.indptr[users])
        return cls(histories, users, first, last, np.maximum(learn_from, first))

    def batch(self, rows: Ints) -> Batch:
        """These windows as one batch."""
        first, last, users = self.first[rows], self.last[rows], self.users[rows]
        from_start = first == self.histories.indptr[users]
        size = last - first  # items in the window; all but the last are inputs
        width = int(size.max())
        place = first[:, None] + np.arange(width)[None, :]
        inside = place < last[:, None]
        place = np.minimum(place, len(self.histories.items) - 1)
        items = np.where(inside, self.histories.items[place], -1)
        learn = inside & (place >= self.learn_from[rows][:, None])
        if self.histories.targets is not None:
            learn &= self.histories.targets[place]
        # The first item of a window is predicted by the start token, only where the history starts.
        learn[:, 0] &= from_start
        targets = np.where(learn, items, -1)
        inputs = np.where(np.arange(width)[None, :] < (size - 1)[:, None], items, -1)[:, :-1]
        kinds = self.histories.kinds
        told = np.zeros(inputs.shape, np.int8) if kinds is None else kinds[place[:, :-1]]
        return Batch(
            inputs.astype(np.int32),
            targets.astype(np.int32),
            size - 1,
            users.astype(np.int64),
            Signals(np.where(inputs >= 0, told, 0), np.where(inside, self.gaps[place], 0)),
        )


def batches(windows: Windows, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches without end: every window once an epoch, in a seeded order.

    Which windows share a batch is chance alone; inside it the short ones come first.
    """
    lengths = windows.last - windows.first
    while True:
        order = rng.permutation(len(windows))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield windows.batch(rows[np.argsort(lengths[rows], kind="stable")])


@dataclass(frozen=True, slots=True)
class SampleWindows:
    """Synthetic sequences: windows over their items, and a weight for each sequence."""

    windows: Windows
    weights: npt.NDArray[np.float32]  # [sequences]; a window's `users` is its sequence

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Synthetic interactions: a context, a target, a weight each."""

    contexts: Codes  # [n, C] oldest first, filled with -1 on the right
    lengths: Ints  # [n]
    targets: Codes  # [n]
    weights: npt.NDArray[np.float32]  # [n]

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Ints) -> Batch:
        lengths = self.lengths[rows]
        inputs = self.contexts[rows, : max(int(lengths.max()), 1)]
        targets = np.full((len(rows), inputs.shape[1] + 1), -1, dtype=np.int32)
        targets[np.arange(len(rows)), lengths] = self.targets[rows]
        nothing = Signals(np.zeros(inputs.shape, np.int8), np.zeros(targets.shape, np.int8))
        return Batch(inputs, targets, lengths, np.full(len(rows), -1), nothing)
