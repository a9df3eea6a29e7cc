"""Sequences of items as one padded matrix, and as the columns of a sample.

Everywhere `items` is [sequences, width] of item codes, oldest first, -1 behind the last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.generate.hashing import Hashes, combine, splitmix
from nightshift.histories import Histories

Items = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

NOTHING = -1


def lengths_of(items: Items) -> Ints:
    """[sequences] how many items each holds."""
    found: Ints = (items >= 0).sum(axis=1)
    return found


def cut(histories: Histories, starts: Ints, ends: Ints) -> Items:
    """The stretches [start, end) of flat places in the histories: [stretches, longest]."""
    width = int((ends - starts).max(initial=0))
    places = starts[:, None] + np.arange(width)
    if not len(histories.items):
        return np.full(places.shape, NOTHING, dtype=np.int32)
    inside = places < ends[:, None]
    found = histories.items[np.minimum(places, len(histories.items) - 1)]
    return np.where(inside, found, np.int32(NOTHING))


def keep(items: Items, kept: npt.NDArray[np.bool_]) -> Items:
    """The items for which `kept` holds, moved together: the same shape as `items`."""
    kept = kept & (items >= 0)
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, items, np.int32(NOTHING)), order, axis=1)


def keys_of(items: Items) -> Hashes:
    """A hash of each sequence, order mattering: [sequences]."""
    state = splitmix(lengths_of(items).astype(np.uint64))
    for column in items.T:
        state = np.where(column >= 0, combine(state, column.astype(np.uint64)), state)
    return state


def columns(items: Items, item_ids: pl.Series) -> pl.DataFrame:
    """`context_items` and `item_id`, the last one; every sequence holds two items or more."""
    lengths = lengths_of(items)
    last = items[np.arange(len(items)), lengths - 1]
    in_front = np.arange(items.shape[1]) < (lengths - 1)[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths - 1)]).astype(np.int64)
    values = item_ids.gather(items[in_front]).to_arrow().cast(contracts.STRING)
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), values))
    assert isinstance(lists, pl.Series)
    return pl.DataFrame({"context_items": lists, "item_id": item_ids.gather(last)})
