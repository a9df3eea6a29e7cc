"""An item that few have touched leans on its neighbours in text.

What training knows of an item grows with its events; of a new one it knows the text alone. So its
place is a mean of its own and of where its nearest texts with events have been placed, own events
against `strength` of theirs: shrinkage towards a local mean, as in empirical Bayes (Efron &
Morris, 1975). Reading a history does not change, only where an item is ranked.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_NEIGHBOURS, _SHARPNESS = 10, 10.0
"""How many, and how much more a nearer one counts: weights are softmax(sharpness * cosine)."""
_LEAST_EVENTS = 6
"""Of an item that others lean on."""
_MOST_EVENTS = 30
"""Of an item that leans: beyond, its own place is known well enough."""
_BLOCK_CELLS = 8_000_000


class _Near(NamedTuple):
    """Who leans, and on whom."""

    few: Tensor  # [n] item codes
    near: Tensor  # [n, 10] item codes
    shares: Tensor  # [n, 10] of the mean


_KEPT: dict[bytes, _Near] = {}
"""The last ones found: all arms of a night, and all trials of a tuning, ask for the same."""
_MOST_KEPT = 2


def leaning(
    places: Tensor, features: Tensor, events: npt.NDArray[np.int64], strength: float
) -> Tensor:
    """Where items are ranked once those with few events lean on others: [items, D].

    Args:
        places: item vectors [items, D].
        features: unit text features as they are ranked [items, P]; an item without any leans on
            nothing.
        events: of each item [items].
        strength: how many own events weigh as much as the neighbours; 0: nobody leans.
    """
    found = _neighbours(features, events) if strength else None
    if found is None:
        return places
    places = places.detach()
    mean = torch.zeros(len(found.few), places.shape[1])
    for rank in range(found.near.shape[1]):
        mean += found.shares[:, rank, None] * places[found.near[:, rank]]
    count = torch.from_numpy(events[found.few.numpy()]).to(places.dtype)[:, None]
    out = places.clone()
    out[found.few] = (count * places[found.few] + strength * mean) / (count + strength)
    return out


def _neighbours(features: Tensor, events: npt.NDArray[np.int64]) -> _Near | None:
    """Found once for the same texts and events; None where nobody leans."""
    told = (features != 0).any(dim=1).numpy()
    few = np.flatnonzero((events <= _MOST_EVENTS) & told)
    known = np.flatnonzero((events >= _LEAST_EVENTS) & told)
    if not len(few) or len(known) <= _NEIGHBOURS:
        return None
    key = hashlib.blake2b(np.ascontiguousarray(features.numpy()).data)
    key.update(few.tobytes() + b"|" + known.tobytes())
    digest = key.digest()
    if digest not in _KEPT:
        while len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[digest] = _search(features, few, known)
    return _KEPT[digest]


def _search(features: Tensor, few: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> _Near:
    column_of = np.full(len(features), -1)
    column_of[known] = np.arange(len(known))
    theirs = features[torch.from_numpy(known)]
    near, shares = torch.empty(len(few), _NEIGHBOURS, dtype=torch.int64), []
    size = max(1, _BLOCK_CELLS // len(known))
    for start in range(0, len(few), size):
        codes = few[start : start + size]
        cosine = features[torch.from_numpy(codes)] @ theirs.T
        # Nobody is a neighbour of itself.
        own = np.flatnonzero(column_of[codes] >= 0)
        cosine[own, column_of[codes[own]]] = -1.0
        best = cosine.topk(_NEIGHBOURS, dim=1)
        near[start : start + size] = torch.from_numpy(known)[best.indices]
        shares.append(torch.softmax(_SHARPNESS * best.values, dim=1))
    return _Near(torch.from_numpy(few), near, torch.cat(shares))
