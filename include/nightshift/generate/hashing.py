"""Hashes of strings that are the same in every process and version, and noise drawn from them.

Everything random in a strategy that is not a language model is a function of (seed, item, user):
a draw does not depend on who shares the chunk, and most of last night's draws come out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_MANTISSA = 53
_MOST_BYTES = 256


def splitmix(x: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea & Flood, 2014): spreads every bit over all."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stable_hash(strings: Sequence[str], salt: int = 0) -> Hashes:
    """64-bit FNV-1a (Fowler, Noll & Vo) of the first 256 UTF-8 bytes, finalised: [strings].

    Columns of bytes are worked off together, so it costs one pass per character of the longest.
    """
    encoded = [s.encode()[:_MOST_BYTES] for s in strings]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    width = int(lengths.max(initial=0))
    flat = np.zeros((width, len(encoded)), dtype=np.uint8)
    if width:
        padded = np.array(encoded, dtype=f"S{width}")
        flat = padded.view(np.uint8).reshape(len(encoded), width).T
    with np.errstate(over="ignore"):
        start = splitmix(np.full(len(encoded), _FNV_OFFSET, dtype=np.uint64) + np.uint64(salt))
        state = start
        for position in range(width):
            mixed = (state ^ flat[position].astype(np.uint64)) * _FNV_PRIME
            state = np.where(position < lengths, mixed, state)
        return splitmix(state)


def combine(left: Hashes, right: Hashes) -> Hashes:
    """One hash of two, order mattering."""
    with np.errstate(over="ignore"):
        return splitmix(left * _FNV_PRIME + right)


def streams(hashes: Hashes, draws: int, salt: int = 0) -> Hashes:
    """`draws` hashes of each hash, as independent as can be: [rows, draws]."""
    counters = stable_hash([str(number) for number in range(draws)], salt)
    return combine(hashes[:, None], counters[None, :])


def uniform(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Numbers in the open interval (0, 1), of the shape of `hashes`."""
    return ((hashes >> np.uint64(64 - _MANTISSA)).astype(np.float64) + 0.5) * 2.0**-_MANTISSA


def gumbel(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Standard Gumbel noise: the largest of log w + noise is a draw with weights w.

    The k largest are k draws without replacement (Efraimidis & Spirakis, 2006).
    """
    noise: npt.NDArray[np.float64] = -np.log(-np.log(uniform(hashes)))
    return noise


def seed_of(*parts: object) -> int:
    """A 31-bit seed from anything with a text form."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
