"""What describes customers in numbers: how much, how often, how dear, how popular, of what taste.

All of it is of a customer's latest stretch, so that a drawn customer can be realised as a history
of the same length; only `events` is of the whole history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour.sequences import Ints, Items, lengths_of
from nightshift.histories import Histories

Floats = npt.NDArray[np.float64]

_DAY = 86_400e6
_HOUR = 3_600e6
_HOURS = 24


@dataclass(frozen=True, slots=True)
class ItemNumbers:
    """What describes items: the columns whose means describe a history."""

    names: tuple[str, ...]
    values: Floats  # [items, names]
    category: Ints  # [items], -1 without one

    @classmethod
    def of(cls, items: pl.DataFrame, coordinates: Floats) -> ItemNumbers:
        """Price (logarithm), popularity (logarithm of events), and coordinates of the text.

        A shop without prices has no such column; an item without one has the shop's mean.
        """
        price = items["price"].log().replace([float("inf"), float("-inf")], None)
        columns, names = [np.log1p(items["events"].to_numpy())], ["popularity"]
        if price.null_count() < len(price):
            mean = price.mean()
            assert isinstance(mean, float)
            columns.append(price.fill_null(mean).to_numpy())
            names.append("price")
        names += [f"taste_{number}" for number in range(coordinates.shape[1])]
        category = items["category"].rank("dense").cast(pl.Int64).fill_null(0) - 1
        return cls(
            tuple(names),
            np.column_stack([*columns, coordinates]).astype(np.float64),
            category.to_numpy(),
        )


def principal_coordinates(
    vectors: npt.NDArray[np.float32], weights: Floats, k: int
) -> tuple[Floats, Floats]:
    """Mean and the k first principal axes of the texts, weighted: [width], [width, k].

    An axis points to where its largest entry is positive, so that it is the same everywhere.
    """
    share = weights / max(weights.sum(), 1.0)
    mean = share @ vectors
    centred = (vectors - mean).astype(np.float64)
    _, axes = np.linalg.eigh((centred * share[:, None]).T @ centred)
    chosen = axes[:, ::-1][:, :k]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=0)[None, :], axis=0)
    return mean, chosen * np.sign(largest)


TIMING = ("events", "days", "hour")


def names_of(known: ItemNumbers, *, repeats: bool) -> tuple[str, ...]:
    """The columns of `describe`."""
    names = ["length"]
    if repeats:
        names.append("repeat_share")
    if (known.category >= 0).any():
        names.append("variety")
    return (*names, *known.names)


def describe(items: Items, known: ItemNumbers, *, repeats: bool) -> Floats:
    """What the items of histories say: [histories, names_of].

    `length`, `repeat_share` (items that were there before; only where the shop repeats), `variety`
    (entropy of the categories in nats; only where items have one), means of `known`.
    """
    lengths = lengths_of(items)
    there = items >= 0
    safe = np.maximum(items, 0)
    columns = [lengths.astype(np.float64)]
    if repeats:
        columns.append(returning(items).sum(axis=1) / lengths)
    if (known.category >= 0).any():
        columns.append(_entropy(np.where(there, known.category[safe], -2), there))
    means = np.where(there[:, :, None], known.values[safe], 0).sum(axis=1) / lengths[:, None]
    return np.column_stack([*columns, means])


def timing(histories: Histories, starts: Ints, ends: Ints) -> Floats:
    """TIMING of the histories that hold these stretches: [stretches, 3].

    `events` (logarithm) is of the whole history, `days` (logarithm of 1 + mean days between events)
    and `hour` (mean) of the stretch.
    """
    users = np.searchsorted(histories.indptr, starts, side="right") - 1
    first, last = histories.times[starts], histories.times[ends - 1]
    days = (last - first) / _DAY / np.maximum(ends - starts - 1, 1)
    hours = (histories.times // _HOUR) % _HOURS
    total = np.concatenate([[0.0], np.cumsum(hours)])
    mean_hour = (total[ends] - total[starts]) / (ends - starts)
    events = np.log(histories.lengths[users])
    return np.column_stack([events, np.log1p(days), mean_hour])


def returning(items: Items) -> npt.NDArray[np.bool_]:
    """Where an item was in the row before: [rows, width]."""
    earlier = np.tri(items.shape[1], k=-1, dtype=np.bool_)
    same = (items[:, :, None] == items[:, None, :]) & earlier
    found: npt.NDArray[np.bool_] = same.any(axis=2) & (items >= 0)
    return found


def _entropy(codes: Ints, there: npt.NDArray[np.bool_]) -> Floats:
    """Of the codes of each row, in nats: mean of -log(share of its own code) over the places."""
    count = (codes[:, :, None] == codes[:, None, :]).sum(axis=2)
    lengths = there.sum(axis=1)
    surprise = np.log(lengths[:, None]) - np.log(np.maximum(count, 1))
    found: Floats = np.where(there, surprise, 0).sum(axis=1) / lengths
    return found
