"""Noise of one made-up customer: a function of who it is, whoever shares the batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.generate.hashing import Hashes, combine, splitmix

Floats = npt.NDArray[np.float64]

_MANTISSA = 53


def uniform(people: Hashes, count: int, *, salt: int) -> Floats:
    """In (0, 1): [people, count]; another salt, another independent draw."""
    counter = splitmix(np.arange(count, dtype=np.uint64) + np.uint64(salt << 32))
    mixed = combine(np.repeat(people, count), np.tile(counter, len(people))).reshape(
        len(people), count
    )
    drawn: Floats = (
        (mixed >> np.uint64(64 - _MANTISSA)).astype(np.float64) + 0.5
    ) * 2.0**-_MANTISSA
    return drawn


def normal(people: Hashes, count: int, *, salt: int) -> Floats:
    """Standard normal: [people, count]."""
    from scipy.special import ndtri

    drawn: Floats = ndtri(uniform(people, count, salt=salt))
    return drawn
