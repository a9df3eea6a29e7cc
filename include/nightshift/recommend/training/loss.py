"""What a step's rows cost: softmax cross-entropy of each target among what competes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.recommend.model.network import Recommender
from nightshift.recommend.training.softmax import softmax_loss
from nightshift.recommend.training.steps import Rows
from nightshift.recommend.training.windows import Part


class Piece(NamedTuple):
    """Rows of like length, in one pass through the network."""

    rows: Rows
    part: Part | None
    """Which rows of the whole piece these are; None: all of them."""
    dice: int
    """Seed of their dropout."""


class _Told(NamedTuple):
    """What the targets of a piece are judged by."""

    states: Tensor  # [T, D]
    targets: Tensor  # [T] places among the step's items
    hard: Tensor | None  # [T, hard]
    weights: Tensor | None  # [T]


def rows_loss(
    model: Recommender,
    vectors: Tensor,
    pieces: Sequence[Piece],
    pool: int | None,
    *,
    negative_mass: int,
    precision: torch.dtype,
) -> Tensor:
    """Weighted cross-entropy of the targets, each among itself and the negatives, summed.

    Args:
        vectors: of the step's items [n, D].
        pieces: at least one; they share their negatives.
        pool: with the full softmax, how many of them compete: the first ones.
        negative_mass: see `Plan`. A few negatives, drawn anew for every row, leave a target in
            peace once it is ahead of most; all of them at the weight of a few is the mean over such
            draws without its noise, and overfits later than all at their own.
    """
    told = [_told(model, vectors, piece, precision) for piece in pieces]
    state, target = (
        torch.cat([getattr(each, name) for each in told]) for name in told[0]._fields[:2]
    )
    own = (state * F.embedding(target, vectors)).sum(-1, keepdim=True)  # [T, 1]
    shared = pieces[0].rows.items.negatives
    if shared is None:
        table = vectors[:pool]
        places = torch.where(target < len(table), target, -1)
    else:
        negatives = torch.from_numpy(shared).to(vectors.device)
        table = vectors[negatives]
        place_of = torch.full((len(vectors),), -1, device=vectors.device)
        place_of[negatives] = torch.arange(len(negatives), device=vectors.device)
        places = place_of[target]
    if told[0].hard is not None:
        hard = torch.cat([each.hard for each in told if each.hard is not None])
        scores = (state[:, None, :] * vectors[hard.clamp_min(0)]).sum(-1)
        none = (hard < 0) | (hard == target[:, None])
        own = torch.cat([own, scores.masked_fill(none, float("-inf"))], dim=1)
    if 0 < negative_mass < len(table):
        # Lifting a row's own candidates is lowering all others, at no cost.
        own = own + math.log(len(table) / negative_mass)
    weights = None
    if told[0].weights is not None:
        weights = torch.cat([each.weights for each in told if each.weights is not None])
    return softmax_loss(state, table, own, places, weights=weights, precision=precision)


def _told(model: Recommender, vectors: Tensor, piece: Piece, precision: torch.dtype) -> _Told:
    rows, items, device = piece.rows, piece.rows.items, vectors.device
    torch.manual_seed(piece.dice)
    lengths = torch.from_numpy(rows.lengths).to(device)
    inputs, targets = (torch.from_numpy(a).to(device) for a in (items.inputs, items.targets))
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        history = F.embedding(inputs.clamp_min(0), vectors) * (inputs >= 0)[..., None]
        kinds, gaps = (torch.from_numpy(each).to(device) for each in rows.signals)
        states = model.users(history, lengths, piece.part, (kinds, gaps))  # [B, L + 1, D]
    counted = targets >= 0

    def of_targets(each: np.ndarray[Any, Any]) -> Tensor:
        """[B, …] → [T, …]"""
        tensor = torch.from_numpy(each).to(device)
        whole = tensor[:, None].expand(*targets.shape, *tensor.shape[1:])
        found: Tensor = whole[counted]
        return found

    return _Told(
        states[counted].float(),
        targets[counted],
        None if items.hard is None else of_targets(items.hard),
        None if rows.weights is None else of_targets(rows.weights),
    )
