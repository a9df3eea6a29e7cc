"""An item that few have touched leans on its neighbours in text.

What training knows of an item grows with its events; of a new one it knows the text alone. So its
place is a mean of its own and of where its nearest texts with events have been placed, own events
against `strength` of theirs: shrinkage towards a local mean, as in empirical Bayes (Efron &
Morris, 1975). Reading a history does not change, only where an item is ranked.
"""

from __future__ import annotations

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
    told = (features != 0).any(dim=1).numpy()
    few = np.flatnonzero((events <= _MOST_EVENTS) & told)
    known = np.flatnonzero((events >= _LEAST_EVENTS) & told)
    if not strength or not len(few) or len(known) <= _NEIGHBOURS:
        return places
    column_of = np.full(len(events), -1)
    column_of[known] = np.arange(len(known))
    places = places.detach()
    theirs, there = features[torch.from_numpy(known)], places[torch.from_numpy(known)]
    out = places.clone()
    size = max(1, _BLOCK_CELLS // len(known))
    for start in range(0, len(few), size):
        codes = few[start : start + size]
        rows = torch.from_numpy(codes)
        cosine = features[rows] @ theirs.T
        # Nobody is a neighbour of itself.
        own = np.flatnonzero(column_of[codes] >= 0)
        cosine[own, column_of[codes[own]]] = -1.0
        best = cosine.topk(_NEIGHBOURS, dim=1)
        shares = torch.softmax(_SHARPNESS * best.values, dim=1)
        near = torch.einsum("nk,nkd->nd", shares, there[best.indices])
        count = torch.from_numpy(events[codes]).to(places.dtype)[:, None]
        out[rows] = (count * places[rows] + strength * near) / (count + strength)
    return out
