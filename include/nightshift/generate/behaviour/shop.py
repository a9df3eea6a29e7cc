"""The shop's behaviour as a model learns it: known items as rows, histories as stretches of them.

An item's row is its place among the items with events: a catalogue's cold items take no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from nightshift.generate.hashing import combine, splitmix
from nightshift.generate.sources import Sources

Ints = npt.NDArray[np.int64]

MIN_CUSTOMERS = 20
"""With fewer customers than this there is nothing to learn but them."""
_MOST_STRETCHES = 4
_HELD_OUT = 10
"""One customer in so many is not learnt from: what a fit is stopped and judged by."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Consecutive items of customers, oldest first."""

    rows: npt.NDArray[np.int32]  # [n, length] item rows, -1 behind the last
    lengths: Ints  # [n]
    users: Ints  # [n]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Where there is an item: [n, length]."""
        found: npt.NDArray[np.bool_] = self.rows >= 0
        return found


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Histories of item rows, and which customers are learnt from."""

    codes: Ints  # [items] catalogue code of each row, ascending
    indptr: Ints  # [users + 1]
    rows: npt.NDArray[np.int32]  # [events]
    learnt: Ints  # customers with at least two events that are learnt from
    held_out: Ints  # and those that are not (all, in a shop too small to hold any out)
    repeats: bool
    length: int
    """No stretch is longer."""

    @classmethod
    def of(cls, sources: Sources, length: int) -> Self:
        """Everything before the night; customers are held out by a hash of their key."""
        histories = sources.snapshot.histories
        codes = np.unique(histories.items).astype(np.int64)
        customers = np.flatnonzero(histories.lengths >= 2)
        seeded = splitmix(np.full(len(customers), sources.settings.generate.seed, dtype=np.uint64))
        hashes = combine(seeded, sources.user_hashes[customers])
        held = hashes % np.uint64(_HELD_OUT) == 0
        return cls(
            codes=codes,
            indptr=histories.indptr,
            rows=np.searchsorted(codes, histories.items).astype(np.int32),
            learnt=customers[~held] if not held.all() else customers,
            held_out=customers[held] if held.any() else customers,
            repeats=sources.snapshot.shop.repeats,
            length=length,
        )

    def of_all_items(self, items: int) -> Self:
        """The same histories, every item of the catalogue in its own row, also without events."""
        codes = np.arange(items, dtype=np.int64)
        return replace(self, codes=codes, rows=self.codes[self.rows].astype(np.int32))

    def draw(self, rng: np.random.Generator, count: int, *, held_out: bool = False) -> Stretches:
        """Stretches of customers, by chance.

        A stretch has `length` items, or all that a customer of fewer has; where it starts is drawn.
        A customer is as likely as it has whole stretches, up to four times as likely as the least:
        neither the wholesaler nor the passer-by is all there is.
        """
        customers = self.held_out if held_out else self.learnt
        had = self.indptr[customers + 1] - self.indptr[customers]
        weight = np.clip(had // self.length, 1, _MOST_STRETCHES).astype(np.float64)
        users = rng.choice(customers, count, p=weight / weight.sum())
        had = self.indptr[users + 1] - self.indptr[users]
        lengths = np.minimum(had, self.length)
        starts = self.indptr[users] + (rng.random(count) * (had - lengths + 1)).astype(np.int64)
        place = starts[:, None] + np.arange(self.length)
        inside = np.arange(self.length) < lengths[:, None]
        rows = np.where(inside, self.rows[np.minimum(place, len(self.rows) - 1)], np.int32(-1))
        return Stretches(rows, lengths, users)

    def shares(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        """How often each item occurs in stretches, smoothed so that none is at zero: [items].

        Args:
            count: stretches counted; the smoothing is worth one event of an average customer.
        """
        seen = self.draw(rng, count)
        found = np.bincount(seen.rows[seen.mask], minlength=len(self.codes)).astype(np.float64)
        events = np.bincount(self.rows, minlength=len(self.codes)).astype(np.float64)
        whole = found / found.sum() + _SMOOTHING * events / events.sum()
        share: npt.NDArray[np.float64] = whole / whole.sum()
        return share


_SMOOTHING = 0.05
"""Part of an item's share that comes from all its events: a rare one may be in no drawn stretch."""
