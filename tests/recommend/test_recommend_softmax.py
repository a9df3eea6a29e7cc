"""The blocked softmax is the plain one: same loss, same gradients, in any number of blocks."""

from __future__ import annotations

import pytest
import torch

from nightshift.recommend.training import softmax
from nightshift.recommend.training.softmax import softmax_loss

T, V, D, H = 37, 50, 8, 3


def tensors():
    torch.manual_seed(0)
    states, table = torch.randn(T, D), torch.randn(V, D)
    own = torch.randn(T, H)
    own[5, 1:] = float("-inf")
    places = torch.randint(-1, V, (T,))
    return [one.requires_grad_() for one in (states, table, own)], places


def plain(states, table, own, places, weights):
    logits = states @ table.T
    mask = torch.zeros(T, V, dtype=torch.bool)
    mask[torch.arange(T)[places >= 0], places[places >= 0]] = True
    whole = torch.cat([own, logits.masked_fill(mask, float("-inf"))], dim=1)
    losses = whole.logsumexp(1) - own[:, 0]
    return losses.sum() if weights is None else (losses * weights).sum()


@pytest.mark.parametrize("cells", [10**6, 7 * V, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_give_the_loss_and_the_gradients_of_the_whole(monkeypatch, cells, weighted):
    monkeypatch.setitem(softmax._CELLS, "cpu", cells)
    weights = torch.linspace(0.1, 2, T) if weighted else None
    found = []
    for loss_of in (
        lambda s, t, o, p: softmax_loss(s, t, o, p, weights=weights),
        lambda s, t, o, p: plain(s, t, o, p, weights),
    ):
        leaves, places = tensors()
        loss = loss_of(*leaves, places)
        (3 * loss).backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_half_the_bits_change_the_loss_by_its_rounding_alone():
    leaves, places = tensors()
    exact = softmax_loss(*leaves, places)
    low = softmax_loss(*leaves, places, precision=torch.bfloat16)
    assert low.dtype == torch.float32
    assert float(low) == pytest.approx(float(exact), rel=5e-3)


def test_logits_that_would_overflow_do_not():
    states, table = torch.full((2, 1), 100.0), torch.tensor([[90.0], [1.0]])
    own = torch.tensor([[9500.0], [0.0]])
    loss = softmax_loss(states, table, own, torch.tensor([-1, -1]))
    assert float(loss) == pytest.approx(9000.0)


def test_a_target_is_no_negative_of_itself():
    states, table = torch.ones(1, 1), torch.tensor([[4.0]])
    inside = softmax_loss(states, table, torch.tensor([[4.0]]), torch.tensor([0]))
    outside = softmax_loss(states, table, torch.tensor([[4.0]]), torch.tensor([-1]))
    assert float(inside) == 0.0
    assert float(outside) == pytest.approx(0.6931, abs=1e-4)
