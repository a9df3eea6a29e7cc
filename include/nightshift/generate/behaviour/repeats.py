"""Items that come twice in a stretch: as often as customers take one again, or never."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.noise import uniform
from nightshift.generate.hashing import Hashes

Rows = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_SALT = 71


def again(rows: Rows) -> Flags:
    """Where an item was in the sequence before: [n, length]; -1 is no item."""
    same = (rows[:, :, None] == rows[:, None, :]) & (rows >= 0)[:, :, None]
    found: Flags = np.tril(same, -1).any(axis=2)
    return found


def rate(rows: Rows) -> float:
    """Share of the items that came before in their sequence."""
    return float(again(rows).sum() / max((rows >= 0).sum(), 1))


def allowed(people: Hashes, count: int, tolerance: float) -> Flags:
    """At which of `count` draws of a customer an item may be one that came before: [n, count].

    A model that draws item by item takes things up again more often than customers do, or does in a
    shop where nobody may. So a repeat is let through with chance `tolerance`; otherwise another
    item is drawn.
    """
    return uniform(people, count, salt=_SALT) < tolerance
