"""What a step's rows cost: softmax cross-entropy of each target among what competes with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.recommend.model.network import Recommender
from nightshift.recommend.training.softmax import softmax_loss
from nightshift.recommend.training.steps import Rows
from nightshift.recommend.training.windows import Part


def rows_loss(
    model: Recommender,
    vectors: Tensor,
    rows: Rows,
    part: Part | None,
    pool: int | None,
    *,
    negative_mass: int,
    precision: torch.dtype,
) -> Tensor:
    """Weighted cross-entropy of the targets, each among itself and the negatives, summed.

    Args:
        vectors: of the step's items [n, D].
        pool: with the full softmax, how many of them compete: the first ones.
        negative_mass: see `Plan`. A few negatives, drawn anew for every row, leave a target in
            peace once it is ahead of most; all of them at the weight of a few is the mean over such
            draws without its noise, and overfits later than all at their own.
    """
    device, items = vectors.device, rows.items
    lengths = torch.from_numpy(rows.lengths).to(device)
    inputs, targets = (torch.from_numpy(a).to(device) for a in (items.inputs, items.targets))
    low = precision != torch.float32
    with torch.autocast(device.type, precision, enabled=low):
        history = F.embedding(inputs.clamp_min(0), vectors) * (inputs >= 0)[..., None]
        kinds, gaps = (torch.from_numpy(each).to(device) for each in rows.signals)
        states = model.users(history, lengths, part, (kinds, gaps))  # [B, L + 1, D]
    counted = targets >= 0
    state, target = states[counted].float(), targets[counted]  # [T, D], [T]
    own = (state * F.embedding(target, vectors)).sum(-1, keepdim=True)  # [T, 1]
    if items.negatives is None:
        table = vectors[:pool]
        places = torch.where(target < len(table), target, -1)
    else:
        negatives = torch.from_numpy(items.negatives).to(device)
        table = vectors[negatives]
        place_of = torch.full((len(vectors),), -1, device=device)
        place_of[negatives] = torch.arange(len(negatives), device=device)
        places = place_of[target]
    if items.hard is not None:
        theirs = torch.from_numpy(items.hard).to(device)
        hard = theirs[:, None, :].expand(-1, targets.shape[1], -1)[counted]  # [T, hard]
        scores = (state[:, None, :] * vectors[hard.clamp_min(0)]).sum(-1)
        none = (hard < 0) | (hard == target[:, None])
        own = torch.cat([own, scores.masked_fill(none, float("-inf"))], dim=1)
    if 0 < negative_mass < len(table):
        # Lifting a row's own candidates is lowering all others, at no cost.
        own = own + math.log(len(table) / negative_mass)
    weights = None
    if rows.weights is not None:
        each = torch.from_numpy(rows.weights).to(device)
        weights = each[:, None].expand_as(targets)[counted]
    return softmax_loss(state, table, own, places, weights=weights, precision=precision)
