"""Histories with one item left out, many of them as one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.ranking import Codes

_ROWS, _EVENTS = 1024, 1_000_000
"""Shortened histories, and events in them, that are held at a time: about 100 MB, however long
the histories and however many the users."""
_COLUMNS = ("items", "times", "kinds", "targets")
"""The fields of `Histories` that are of its events."""
Ints = npt.NDArray[np.int64]


def last_items(histories: Histories, events: int) -> Codes:
    """The items of the last events, newest first, each once: [users, ≤events], -1 for none."""
    width = int(min(events, histories.lengths.max(initial=0)))
    found = histories.last(width)[:, ::-1]
    newer = np.tril(np.ones((width, width), bool), k=-1)
    again = ((found[:, :, None] == found[:, None, :]) & newer).any(axis=2)
    items: Codes = np.where(again, -1, found)
    return items


def without(histories: Histories, users: Ints, items: Codes) -> Histories:
    """A history for each pair of user and item: the user's, without any event with the item.

    Args:
        users: [n] rows of `histories`.
        items: [n] item codes.
    """
    whole = histories.take(users)
    rows = np.repeat(np.arange(len(users)), whole.lengths)
    stay = whole.items != items[rows]
    lengths = np.bincount(rows[stay], minlength=len(users))
    # Whatever else is known of each event is shortened with it.
    columns: dict[str, Any] = {
        name: getattr(whole, name)[stay] for name in _COLUMNS if getattr(whole, name) is not None
    }
    if histories.journey is not None:
        columns["journey"] = without(histories.journey, users, items)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return replace(whole, indptr=indptr, **columns)


def blocks(histories: Histories, looked_at: Codes) -> Iterator[Ints]:
    """Users whose shortened histories fit together into memory; who has none is left out.

    Args:
        looked_at: see `last_items`.
    """
    shortened = (looked_at >= 0).sum(axis=1)
    some = np.flatnonzero(shortened)
    cost = np.maximum(shortened / _ROWS, shortened * histories.lengths / _EVENTS)[some]
    block = (np.cumsum(cost) - cost).astype(np.int64)
    if len(some):
        yield from np.split(some, np.flatnonzero(np.diff(block)) + 1)
