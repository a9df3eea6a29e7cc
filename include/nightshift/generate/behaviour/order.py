"""Putting a set of items in an order, as customers do: what is had behind what.

A first-order model: how often an item followed another in the shop, and, for pairs that never met,
how near their vectors are. How strictly customers keep to it is fitted: real stretches are shuffled
and put in order again, until neighbours are as near to each other as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.noise import uniform
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes, splitmix

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]

_STRETCHES = 100_000
_LEAST = 2
"""A pair seen once is chance; leaving it out keeps the table small in a large catalogue."""
_STRICTNESS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_FITTED_ON = 2000
_SALT = 61


@dataclass(frozen=True, slots=True)
class Order:
    """Scores of "j behind i"."""

    pairs: npt.NDArray[np.int64]  # [n] i * items + j, ascending
    counts: Floats  # [n] log(1 + how often)
    vectors: npt.NDArray[np.float32]  # [items, E]
    strictness: float = 1.0
    """0: any order; the larger, the more surely the best one."""

    PARTS: ClassVar = tuple(
        f"order.{name}" for name in ("pairs", "counts", "vectors", "strictness")
    )

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        """From what `tensors` gave."""
        pairs, counts, vectors, strictness = (tensors[name] for name in cls.PARTS)
        return cls(pairs, counts, vectors, float(strictness[0]))

    def tensors(self) -> Tensors:
        """To be kept with a fit."""
        parts = (self.pairs, self.counts, self.vectors, np.array([self.strictness]))
        return dict(zip(self.PARTS, parts, strict=True))

    @classmethod
    def learn(
        cls, behaviour: Behaviour, vectors: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> Self:
        n = len(behaviour.codes)
        seen = behaviour.draw(rng, min(_STRETCHES, 20 * len(behaviour.rows)))
        left, right = seen.rows[:, :-1].astype(np.int64), seen.rows[:, 1:].astype(np.int64)
        inside = (right >= 0) & (left != right)
        pairs, counts = np.unique(left[inside] * n + right[inside], return_counts=True)
        often = counts >= _LEAST
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        found = cls(
            pairs[often], np.log1p(counts[often]), (vectors / np.maximum(norm, 1e-9)).astype("f4")
        )
        return found._fitted(behaviour, rng)

    def _fitted(self, behaviour: Behaviour, rng: np.random.Generator) -> Self:
        """With the strictness at which real stretches, shuffled, become like themselves again."""
        # Of customers whose pairs were not counted, or every pair would look well known.
        real = behaviour.draw(rng, _FITTED_ON, held_out=True)
        shuffled = real.rows.copy()
        for row, length in zip(shuffled, real.lengths, strict=True):
            row[:length] = rng.permutation(row[:length])
        hashes = splitmix(np.arange(len(shuffled), dtype=np.uint64))
        wanted = self._smoothness(real.rows)
        tries = [replace(self, strictness=value) for value in _STRICTNESS]
        gaps = [abs(one._smoothness(one.arranged(shuffled, hashes)) - wanted) for one in tries]
        return tries[int(np.argmin(gaps))]

    def _smoothness(self, rows: Rows) -> float:
        """Mean score of neighbours."""
        left, right = rows[:, :-1], rows[:, 1:]
        inside = right >= 0
        return float(self._score(left[inside], right[inside]).mean())

    def _score(self, left: Rows, right: Rows) -> Floats:
        """log(1 + how often) + cosine: arrays of one shape."""
        known = np.zeros(left.shape)
        wanted = left.astype(np.int64) * len(self.vectors) + right
        if len(self.pairs):
            at = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
            known = np.where(self.pairs[at] == wanted, self.counts[at], 0.0)
        found: Floats = known + (self.vectors[left] * self.vectors[right]).sum(axis=-1)
        return found

    def arranged(self, rows: Rows, people: Hashes) -> Rows:
        """The same items of each row, the first one first: [n, length], -1 behind the last.

        Each next one is drawn among those left, by its score behind the one before.
        """
        n, length = rows.shape
        out = np.full_like(rows, -1)
        out[:, 0] = rows[:, 0]
        left = rows >= 0
        left[:, 0] = False
        each = np.arange(n)
        noise = -np.log(-np.log(uniform(people, length * length, salt=_SALT)))
        noise = noise.reshape(n, length, length)
        for place in range(1, length):
            score = self.strictness * self._score(
                np.repeat(out[:, place - 1 : place], length, axis=1).clip(0), rows.clip(0)
            )
            score = np.where(left, score + noise[:, place], -np.inf)
            chosen = score.argmax(axis=1)
            there = left[each, chosen]
            out[there, place] = rows[there, chosen[there]]
            left[each, chosen] = False
        return out
