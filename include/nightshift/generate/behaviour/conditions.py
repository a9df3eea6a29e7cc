"""What a stretch is like: the customer's segment, its favourite kind of item, price band, length.

A made-up customer's condition is that of a drawn real stretch, so conditions go together as they do
in the shop; no item of that stretch is ever looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour.shop import Behaviour, Stretches
from nightshift.generate.sources import Sources

Ints = npt.NDArray[np.int64]

COLUMNS = ("segment", "favourite", "price_band", "activity")
_MOST_NAMED = 200
"""Categories that keep their name, the commonest: the others are one."""
_CATEGORY_SHARE = 0.5
"""Where fewer of the known items have a category, kinds of items are groups of their texts."""
_GROUPS = 50
_ACTIVITY = (4, 9, 19, 49, 199)
"""Upper ends of the buckets of how many events a customer has in all."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What stretches are told apart by. Value 0 of a column stands for none or any other."""

    kind_of_item: Ints  # [items] category, or group of texts
    kinds: list[str]
    band_of_item: Ints  # [items]
    bands: list[str]
    segment_of_user: Ints  # [users]
    segments: list[str]

    @classmethod
    def of(cls, sources: Sources, behaviour: Behaviour, kind_of_item: Ints | None = None) -> Self:
        """Read off the catalogue and the users.

        Args:
            kind_of_item: as it was found before; groups of texts may differ between machines.
        """
        known = sources.snapshot.items.select("category", "price_band")[behaviour.codes]
        if known["category"].is_not_null().mean() >= _CATEGORY_SHARE:  # type: ignore[operator]
            kind_of_item, kinds = _named(known["category"], _MOST_NAMED)
        else:
            if kind_of_item is None:
                kind_of_item = _text_groups(sources, behaviour)
            kinds = ["", *(f"group {n}" for n in range(1, int(kind_of_item.max()) + 1))]
        band_of_item, bands = _named(known["price_band"], _MOST_NAMED)
        segment_of_user, segments = _named(sources.snapshot.users["segment"], _MOST_NAMED)
        return cls(kind_of_item, kinds, band_of_item, bands, segment_of_user, segments)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each of COLUMNS has."""
        return len(self.segments), len(self.kinds), len(self.bands), len(_ACTIVITY) + 1

    def of_stretches(self, stretches: Stretches, behaviour: Behaviour) -> Ints:
        """The condition of each stretch: [n, COLUMNS]."""
        users = stretches.users
        had = behaviour.indptr[users + 1] - behaviour.indptr[users]
        return np.stack(
            [
                self.segment_of_user[users],
                _most_frequent(stretches, self.kind_of_item),
                _most_frequent(stretches, self.band_of_item),
                np.searchsorted(_ACTIVITY, had),
            ],
            axis=1,
        )

    def names(self, conditions: Ints) -> pl.DataFrame:
        """The same in words, for a sample's lineage: columns segment, favourite, price_band."""
        return pl.DataFrame(
            {
                name: pl.Series(words, dtype=pl.String).gather(conditions[:, column])
                for column, (name, words) in enumerate(
                    zip(COLUMNS, (self.segments, self.kinds, self.bands), strict=False)
                )
            }
        )


def _named(values: pl.Series, most: int) -> tuple[Ints, list[str]]:
    """Codes of the commonest values, 0 for the others, and their names ("" at 0)."""
    counts = values.drop_nulls().value_counts(sort=False)
    counts = counts.sort(["count", values.name], descending=[True, False]).head(most)
    names = sorted(counts[values.name].to_list())
    codes = values.replace_strict(
        names, list(range(1, len(names) + 1)), default=0, return_dtype=pl.Int64
    )
    return codes.fill_null(0).to_numpy(), ["", *names]


def _most_frequent(stretches: Stretches, value_of_item: Ints) -> Ints:
    """The value that most items of a stretch have; the earliest of equals: [n]."""
    values = np.where(stretches.mask, value_of_item[np.maximum(stretches.rows, 0)], -1)
    same = (values[:, :, None] == values[:, None, :]) & (values >= 0)[:, None, :]
    counts = np.where(values >= 0, same.sum(axis=2), 0)
    best = counts.argmax(axis=1)
    found: Ints = values[np.arange(len(values)), best]
    return found


def _text_groups(sources: Sources, behaviour: Behaviour) -> Ints:
    """Groups of the known items by their texts (k-means; Lloyd, 1982), numbered from 1: [items]."""
    from scipy.cluster.vq import kmeans2

    vectors, row_of_item = sources.texts
    texts, text_of_item = np.unique(row_of_item[behaviour.codes], return_inverse=True)
    count = min(_GROUPS, len(texts))
    _, labels = kmeans2(
        vectors[texts],
        count,
        minit="++",
        seed=np.random.default_rng([sources.settings.generate.seed]),
    )
    _, labels = np.unique(labels, return_inverse=True)  # an empty group is none
    found: Ints = labels[text_of_item].astype(np.int64) + 1
    return found
