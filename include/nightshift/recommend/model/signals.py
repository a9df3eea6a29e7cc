"""What stands beside the items of a history: each event's kind, and the time between them.

A time is told by its order of magnitude: buckets double from a minute to some years. Bucket 0 is
for what is not known, such as the time before a user's first event, or of a sequence that was made
up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nightshift.contracts import EVENT_KINDS
from nightshift.histories import Histories

Small = npt.NDArray[np.int8]

KINDS = len(EVENT_KINDS) + 1
"""0: not told; then the kinds in the contract's order."""
BUCKETS = 24
_MINUTE = 60 * 1e6
"""Microseconds."""


class Signals(NamedTuple):
    """Beside the L inputs of B windows."""

    kinds: Small  # [B, L]
    gaps: Small  # [B, L + 1] bucket of the time since the event before; the last is the target's


def buckets(gaps: npt.NDArray[np.int64]) -> Small:
    """Buckets of gaps in microseconds: 1 is under a minute, each next one twice as long."""
    minutes = np.maximum(gaps, 0) / _MINUTE
    found: Small = np.minimum(1 + np.floor(np.log2(1 + minutes)), BUCKETS - 1).astype(np.int8)
    return found


def gaps_of(histories: Histories) -> Small:
    """Bucket of the time since the same user's event before: [events]."""
    times = histories.times
    if not len(times):
        return np.zeros(len(histories.items), dtype=np.int8)
    gaps = np.diff(times, prepend=times[0])
    known = (times > 0) & (np.append(0, times[:-1]) > 0)
    known[histories.indptr[:-1][histories.lengths > 0]] = False
    return np.where(known, buckets(gaps), np.int8(0)).astype(np.int8)


def waits_of(histories: Histories) -> Small:
    """Bucket of the time since each user's newest event, at the histories' `now`: [users]."""
    some = histories.lengths > 0
    last = np.zeros(len(histories), dtype=np.int64)
    if len(histories.times):
        last[some] = histories.times[histories.indptr[1:][some] - 1]
    known = some & (last > 0) & (histories.now > 0)
    return np.where(known, buckets(histories.now - last), np.int8(0)).astype(np.int8)


def newest_signals(histories: Histories, length: int) -> Signals:
    """Of the last `length` events of each user, from the left on; behind them, the wait."""
    kinds = np.zeros(len(histories.items), np.int8) if histories.kinds is None else histories.kinds
    told = left_aligned(histories, length, kinds, nothing=0)
    before = left_aligned(histories, length, gaps_of(histories), nothing=0)
    gaps = np.pad(before, ((0, 0), (0, 1)))
    gaps[np.arange(len(histories)), np.minimum(histories.lengths, length)] = waits_of(histories)
    return Signals(told, gaps)


def left_aligned(
    histories: Histories,
    length: int,
    values: npt.NDArray[Any] | None = None,
    *,
    nothing: int = -1,
) -> npt.NDArray[Any]:
    """The last `length` items of every user from the left on: [users, ≤length].

    Args:
        values: of the events, in place of their items.
        nothing: what stands behind them.
    """
    lengths = np.minimum(histories.lengths, length)
    width = max(int(lengths.max(initial=0)), 1)
    flat = histories.items if values is None else values
    if not len(flat):
        return np.full((len(histories), width), nothing, dtype=flat.dtype)
    place = (histories.indptr[1:] - lengths)[:, None] + np.arange(width)[None, :]
    inside = place < histories.indptr[1:, None]
    found = flat[np.minimum(place, len(flat) - 1)]
    return np.where(inside, found, flat.dtype.type(nothing))
