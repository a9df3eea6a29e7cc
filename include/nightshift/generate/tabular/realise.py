"""From a customer's numbers to a short history that has them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.sequences import NOTHING, Ints, Items, keep
from nightshift.generate.hashing import Hashes, streams, uniform
from nightshift.generate.tabular import tilting
from nightshift.generate.tabular.customer_numbers import ItemNumbers, describe, names_of, returning

Floats = npt.NDArray[np.float64]

_SOLVE_ON = 4096
"""Items on which a tilt is solved for; more change it little and cost much."""
_BLOCK = 32
"""Customers realised together: bounds memory by so many rows over the catalogue."""
_SPARE = 6
"""Items drawn beyond the length, for those that come twice."""
_ITEMS, _REPEATS = 142, 143


class Realiser:
    """Draws histories whose length, repeats and means are the asked ones, as near as it gets."""

    def __init__(
        self, known: ItemNumbers, weights: Floats, scale: Floats, *, repeats: bool, width: int
    ) -> None:
        """
        Args:
            weights: of the items, adding up to 1: [items].
            scale: what counts as far in each column of `describe`: [names_of].
            width: items of a history at most.
        """
        self._known, self._weights, self._scale = known, weights, scale
        self._repeats, self._width = repeats, width
        self.names = names_of(known, repeats=repeats)
        self._n_means = len(known.names)
        self._mean = weights @ known.values
        spread = np.sqrt(weights @ (known.values - self._mean) ** 2)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._features = (known.values - self._mean) / self._spread
        rows, self._solve_weights = _thinned(weights)
        self._solve_features = self._features[rows]

    def realise(self, wanted: Floats, seeds: Hashes, *, tries: int) -> tuple[Items, Floats]:
        """The nearest of `tries` histories for each customer.

        Args:
            wanted: [customers, names_of].
            seeds: of each customer.

        Returns:
            Items [customers, width], and each history's distance from what was wanted, in units of
            `scale` (root mean square over the columns).
        """
        items = np.full((len(wanted), self._width), NOTHING, dtype=np.int32)
        distance = np.zeros(len(wanted))
        for start in range(0, len(wanted), _BLOCK):
            block = slice(start, start + _BLOCK)
            items[block], distance[block] = self._block(wanted[block], seeds[block], tries)
        return items, distance

    def _block(self, wanted: Floats, seeds: Hashes, tries: int) -> tuple[Items, Floats]:
        means = (wanted[:, -self._n_means :] - self._mean) / self._spread
        counts = np.maximum(wanted[:, 0], 1.0)
        tilt = tilting.solve(self._solve_features, self._solve_weights, means, counts)
        shares = tilting.tilted(self._features, self._weights, tilt)
        drawn = self._width + _SPARE
        numbers = uniform(streams(seeds, tries * drawn, _ITEMS))
        items = tilting.draw(shares, numbers).reshape(-1, drawn).astype(np.int32)
        many = np.repeat(wanted, tries, axis=0)
        items = self._shaped(items, many, streams(seeds, tries * self._width, _REPEATS))
        apart = (describe(items, self._known, repeats=self._repeats) - many) / self._scale
        distance = np.sqrt((apart**2).mean(axis=1)).reshape(-1, tries)
        best = distance.argmin(axis=1)
        rows = np.arange(len(wanted))
        return items.reshape(len(wanted), tries, -1)[rows, best], distance[rows, best]

    def _shaped(self, items: Items, wanted: Floats, noise: Hashes) -> Items:
        """As long as wanted, with as many repeats: [histories, width]."""
        length = np.clip(np.rint(wanted[:, 0]).astype(np.int64), 2, self._width)
        again = np.zeros_like(length)
        if self._repeats:
            again = np.clip(np.rint(wanted[:, 1] * length).astype(np.int64), 0, length - 1)
        distinct = keep(items, ~returning(items))[:, : self._width]
        place = np.arange(self._width)
        distinct = np.where(place < (length - again)[:, None], distinct, np.int32(NOTHING))
        return _with_repeats(distinct, again, uniform(noise.reshape(distinct.shape)))


def _with_repeats(items: Items, again: Ints, numbers: Floats) -> Items:
    """`again` items of each row come once more, somewhere behind where they were first."""
    width = items.shape[1]
    place = np.arange(width)
    count = (items >= 0).sum(axis=1)[:, None]
    source = np.minimum((numbers * count).astype(np.int64), width - 1)
    repeated = np.where(place < again[:, None], np.take_along_axis(items, source, axis=1), NOTHING)
    fraction = (numbers * count) % 1
    behind = source + 0.5 + fraction * np.maximum(count - source, 1)
    when = np.concatenate([np.where(items >= 0, place, np.inf), behind], axis=1)
    both = np.concatenate([items, repeated.astype(np.int32)], axis=1)
    order = np.argsort(np.where(both >= 0, when, np.inf), axis=1, kind="stable")
    return np.take_along_axis(both, order, axis=1)[:, :width]


def _thinned(weights: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Rows that stand for all, and their weights: all of them, or a systematic sample."""
    if len(weights) <= _SOLVE_ON:
        return np.arange(len(weights)), weights
    levels = (np.arange(_SOLVE_ON) + 0.5) / _SOLVE_ON
    rows = np.searchsorted(np.cumsum(weights) / weights.sum(), levels)
    return rows, np.full(_SOLVE_ON, 1 / _SOLVE_ON)
