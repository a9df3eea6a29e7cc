"""Softmax cross-entropy over a table of items, without ever holding all its logits.

A step has thousands of targets and, with the full softmax, every item of the shop competes for
each. The logits go through in blocks of rows that fit a cache: a block's loss and its gradients
are computed while its logits are there, as "fused linear cross-entropy" kernels do (Hsu et al.,
2024, Liger Kernel). Memory is that of one block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CELLS = {"cpu": 3_000_000, "cuda": 128_000_000}
"""Logits held at a time: on a CPU some megabytes, which stay in its cache."""


def softmax_loss(
    states: Tensor,
    table: Tensor,
    own: Tensor,
    places: Tensor,
    *,
    weights: Tensor | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """The weighted sum of -log softmax of each row's target.

    Args:
        states: [T, D].
        table: vectors of the items that compete for every row [V, D].
        own: logits of a row's own candidates [T, H]; the first is its target, -inf is none.
        places: where the target stands in the table, -1 where it does not [T]: it is no negative
            of itself.
        weights: of the rows [T]; None: 1.
        precision: of the products; sums are of single precision.
    """
    loss: Tensor = _SoftmaxLoss.apply(states, table, own, places, weights, precision)
    return loss


class _SoftmaxLoss(torch.autograd.Function):  # type: ignore[misc]
    """Gradients are made in the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        own: Tensor,
        places: Tensor,
        weights: Tensor | None,
        precision: torch.dtype,
    ) -> Tensor:
        rows, items = states.to(precision), table.to(precision)
        by_state, by_own = torch.empty_like(states), torch.empty_like(own)
        by_item = torch.zeros_like(table)
        size = max(1, _CELLS.get(states.device.type, _CELLS["cuda"]) // max(len(table), 1))
        held = torch.empty(min(size, len(rows)), len(table), dtype=precision, device=rows.device)
        total = torch.zeros((), device=rows.device)
        for start in range(0, len(rows), size):
            block = slice(start, min(start + size, len(rows)))
            logits = torch.mm(rows[block], items.T, out=held[: block.stop - start])
            inside = places[block]
            here = torch.nonzero(inside >= 0)[:, 0]
            logits[here, inside[here]] = float("-inf")
            # In the logits' own precision: another would copy the whole block.
            top = torch.maximum(logits.amax(1), own[block].amax(1).to(precision))[:, None]
            others = logits.sub_(top).exp_()
            mine = (own[block] - top).exp()
            mass = others.sum(1, dtype=torch.float32) + mine.sum(1)
            losses = mass.log() + top[:, 0] - own[block, 0]
            worth = torch.ones_like(mass) if weights is None else weights[block]
            total += (losses * worth).sum()
            # Rows are scaled where they are short: before one product and behind the other.
            share = (worth / mass)[:, None]
            by_state[block] = (others @ items) * share
            by_item += others.T @ (rows[block] * share).to(precision)
            by_own[block] = mine * share
            by_own[block, 0] -= worth
        ctx.save_for_backward(by_state, by_item, by_own)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return (*(gradient * each for each in ctx.saved_tensors), None, None, None)
