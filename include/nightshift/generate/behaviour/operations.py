"""Operations on sequences of items, all rows at once: what `sequence_ops` does to a history.

Every operation is a function of the items of a row and of its seed, and not of how long the longest
row beside it is. `items` are [rows, width], oldest
first, -1 behind the last (generate/behaviour/sequences.py), two or more in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.sequences import NOTHING, Ints, Items, keep, lengths_of
from nightshift.generate.hashing import Hashes, combine, gumbel, streams, uniform

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_KEPT = 2
"""A sequence holds two items or more, whatever is cut from it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What each item may give way to, or be joined by: [items asked, k], -1 where fewer."""

    items: Items
    similarity: npt.NDArray[np.float32]
    preference: npt.NDArray[np.float32]
    """Weight of each in the draw; 0 is never drawn."""


Similar = Callable[[Items], Candidates]
"""Item codes [asked] to their candidates."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an operation made of each row."""

    items: Items
    changed: Floats
    """Share of the original that the operation touched."""
    similarity: Floats | None = None
    """Mean similarity of what was put in; not a number where nothing was."""


def crop(items: Items, seeds: Hashes, share: float) -> Made:
    """A stretch of 1 - share of the items (Xie et al., 2020)."""
    lengths = lengths_of(items)
    cut = _count(lengths, share, most=lengths - _KEPT)
    first = (uniform(streams(seeds, 1))[:, 0] * (cut + 1)).astype(np.int64)
    place = np.arange(items.shape[1])
    inside = (place >= first[:, None]) & (place < (first + lengths - cut)[:, None])
    return Made(keep(items, inside), cut / lengths)


def mask(items: Items, seeds: Hashes, share: float) -> Made:
    """A share of the items left out (Xie et al., 2020, where a mask token stands for them)."""
    lengths = lengths_of(items)
    count = _count(lengths, share, most=lengths - _KEPT)
    return Made(keep(items, ~_some(items, seeds, count)), count / lengths)


def reorder(items: Items, seeds: Hashes, share: float) -> Made:
    """A stretch of a share of the items, two at least, in another order (Xie et al., 2020)."""
    lengths = lengths_of(items)
    count = np.clip(np.rint(share * lengths).astype(np.int64), 2, lengths)
    noise = streams(seeds, items.shape[1] + 1)
    first = (uniform(noise[:, 0]) * (lengths - count + 1)).astype(np.int64)
    place = np.arange(items.shape[1])
    inside = (place >= first[:, None]) & (place < (first + count)[:, None])
    shuffled = _permute(items, inside, uniform(noise[:, 1:]))
    same = (shuffled == items).all(axis=1)
    backwards = _permute(items, inside, -place / items.shape[1] + np.zeros(items.shape))
    return Made(np.where(same[:, None], backwards, shuffled), count / lengths)


def substitute(items: Items, seeds: Hashes, share: float, similar: Similar) -> Made:
    """A share of the items give way to similar ones (Liu et al., 2021)."""
    lengths = lengths_of(items)
    chosen = _some(items, seeds, _count(lengths, share, most=lengths))
    new, similarity = _draw(items, seeds, chosen, similar)
    put = new >= 0
    return Made(np.where(put, new, items), put.sum(axis=1) / lengths, _mean_where(similarity, put))


def insert(items: Items, seeds: Hashes, share: float, similar: Similar, width: int) -> Made:
    """Behind a share of the items stands one that belongs to them (Liu et al., 2021).

    Args:
        width: items of the result at most, the latest ones.
    """
    lengths = lengths_of(items)
    chosen = _some(items, seeds, _count(lengths, share, most=lengths))
    new, similarity = _draw(items, seeds, chosen, similar)
    put = new >= 0
    woven = np.stack([items, new], axis=2).reshape(len(items), -1)
    longer = keep(woven, woven >= 0)
    over = np.maximum(lengths_of(longer) - width, 0)
    latest = keep(longer, np.arange(longer.shape[1]) >= over[:, None])[:, :width]
    return Made(latest, put.sum(axis=1) / lengths, _mean_where(similarity, put))


def _count(lengths: Ints, share: float, *, most: Ints) -> Ints:
    """`share` of each length, one at least and `most` at most."""
    found: Ints = np.minimum(np.maximum(np.rint(share * lengths), 1), most).astype(np.int64)
    return found


def _some(items: Items, seeds: Hashes, count: Ints) -> Bools:
    """As many places of each row as `count` says: [rows, width]."""
    noise = uniform(streams(seeds, items.shape[1]))
    rank = np.argsort(np.argsort(np.where(items >= 0, noise, 2.0), axis=1), axis=1)
    found: Bools = (rank < count[:, None]) & (items >= 0)
    return found


def _permute(items: Items, inside: Bools, key: Floats) -> Items:
    """The items for which `inside` holds in the order of `key`, the others where they are."""
    place = np.arange(items.shape[1])
    source = np.broadcast_to(place, items.shape).copy()
    by_key = np.argsort(np.where(inside, key, np.inf), axis=1, kind="stable")
    by_place = np.argsort(~inside, axis=1, kind="stable")
    moved = np.arange(items.shape[1]) < inside.sum(axis=1)[:, None]
    row, rank = np.nonzero(moved)
    source[row, by_place[row, rank]] = by_key[row, rank]
    return np.take_along_axis(items, source, axis=1)


def _draw(
    items: Items, seeds: Hashes, chosen: Bools, similar: Similar
) -> tuple[Items, npt.NDArray[np.float32]]:
    """An item for each chosen place that its row does not hold yet: [rows, width], -1 for none."""
    new = np.full(items.shape, NOTHING, dtype=np.int32)
    similarity = np.zeros(items.shape, dtype=np.float32)
    row, place = np.nonzero(chosen)
    if not len(row):
        return new, similarity
    distinct, asked = np.unique(items[row, place], return_inverse=True)
    found = similar(distinct.astype(np.int32))
    candidate, weight = found.items[asked], found.preference[asked].astype(np.float64)
    there = (candidate[:, :, None] == items[row][:, None, :]).any(axis=2)
    possible = (candidate >= 0) & ~there & (weight > 0)
    noise = gumbel(streams(combine(seeds[row], place.astype(np.uint64)), candidate.shape[1]))
    with np.errstate(divide="ignore"):
        score = np.where(possible, np.log(weight) + noise, -np.inf)
    best = score.argmax(axis=1)
    any_left = possible.any(axis=1)
    row, place, asked, best = row[any_left], place[any_left], asked[any_left], best[any_left]
    new[row, place] = found.items[asked, best]
    similarity[row, place] = found.similarity[asked, best]
    # Two places may have drawn the same item: the first one has it.
    again = (new[:, :, None] == new[:, None, :]) & np.tri(items.shape[1], k=-1, dtype=np.bool_)
    new[again.any(axis=2)] = NOTHING
    return new, similarity


def _mean_where(values: npt.NDArray[np.float32], where: Bools) -> Floats:
    """[rows] mean of the values; not a number where there is none."""
    count = where.sum(axis=1)
    total = np.where(where, values, 0.0).sum(axis=1)
    found: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
