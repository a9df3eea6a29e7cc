"""The users' side of a score: what is read of histories, in numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from nightshift.errors import BadInput
from nightshift.histories import Histories
from nightshift.ranking import Codes
from nightshift.recommend.model.features import Floats
from nightshift.recommend.model.signals import left_aligned, newest_signals

_RECENT, _DECAY = 10, 0.7
"""The text profile: the last ten items, each counting 0.7 of the one after it."""
_ENCODED = 64
"""Histories encoded at a time, sorted by length."""


def encoded(
    histories: Histories,
    length: int,
    dim: int,
    encode: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Floats:
    """The state after each history: [users, dim].

    Users of like length go through together, so that little of the work is filling.

    Args:
        encode: from codes [B, L] of the last `length` events, -1 behind them, how many there are
            [B], and their kinds and gaps (see `Signals`), the states [B, dim].
    """
    histories = histories.read
    lengths = np.minimum(histories.lengths, length)
    order = np.argsort(lengths, kind="stable")
    states = np.empty((len(histories), dim), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), _ENCODED):
            users = order[start : start + _ENCODED]
            some = histories.take(users)
            arrays = (left_aligned(some, length), lengths[users], *newest_signals(some, length))
            states[users] = encode(*(torch.from_numpy(array) for array in arrays)).numpy()
    return states


def recent_items(histories: Histories) -> tuple[Codes, Floats]:
    """What text profiles and followers read: the last items and their weights, [users, 10] each.

    A place without an item has weight zero.
    """
    last = histories.last(_RECENT)
    weights = _DECAY ** np.arange(_RECENT - 1, -1, -1) * (last >= 0)
    return np.maximum(last, 0), weights.astype(np.float32)


def text_profiles(histories: Histories, features: Floats) -> Floats:
    """The unit sum of the last items' text features, zero without an item: [users, P].

    Args:
        features: of the catalogue [items, P].
    """
    last, weights = recent_items(histories)
    found: Floats = embedding_bag(
        torch.from_numpy(last),
        torch.from_numpy(features),
        per_sample_weights=torch.from_numpy(weights),
        mode="sum",
    ).numpy()
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
    return found


def check_codes(histories: Histories, n_items: int) -> None:
    """Are all of them of this catalogue?

    Raises:
        BadInput: a history holds what is no item of it.
    """
    codes = histories.items
    strange = (codes < 0) | (codes >= n_items)
    if strange.any():
        raise BadInput(
            f"A history holds the item code {codes[strange][0]}; "
            f"the catalogue has {n_items} items.",
            hint="code histories by the snapshot that the model was loaded for, and leave out "
            "items that it does not list",
            row=int(np.searchsorted(histories.indptr, strange.argmax(), side="right") - 1),
        )
