"""A causal model of stretches: which item comes next, given the condition and what was before.

A GRU (Cho et al., 2014; GRU4Rec, Hidasi et al., 2016): at ten items it learns in a minute of a CPU
what a transformer does in several.

Shapes in comments: B stretches, L items, D hidden.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.conditioning import Conditioning
from nightshift.generate.behaviour.items import ItemTable
from nightshift.generate.behaviour.training import Batch, Training

_SALT = 31
"""Of the stretches that are drawn."""


class SequenceModel(nn.Module):  # type: ignore[misc]
    """p(next item | condition, items before): logits are states · item vectors + a bias."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        shares: npt.NDArray[np.float64],
        sizes: tuple[int, ...],
        hidden: int,
    ) -> None:
        super().__init__()
        self.conditioning = Conditioning(sizes)
        width = self.conditioning.width
        self.items = ItemTable(vectors, shares, hidden)
        self.begin = nn.Linear(width, hidden)
        self.gru = nn.GRU(hidden + width, hidden, batch_first=True)
        self.out = nn.Linear(hidden + width, hidden)
        self.start = nn.Parameter(torch.zeros(hidden))

    def states(self, items: Tensor, conditions: Tensor) -> Tensor:
        """What is known before each item, its vectors being [B, L, D]: [B, L, D]."""
        condition = self.conditioning(conditions)
        inputs = torch.cat([self.start.expand(len(items), 1, -1), items[:, :-1]], dim=1)
        spread = condition[:, None].expand(-1, inputs.shape[1], -1)
        hidden, _ = self.gru(torch.cat([inputs, spread], dim=2), self.first(condition))
        found: Tensor = self.out(torch.cat([hidden, spread], dim=2))
        return found

    def first(self, condition: Tensor) -> Tensor:
        """The state before anything: [1, B, D]."""
        found: Tensor = torch.tanh(self.begin(condition))[None]
        return found

    def step(self, previous: Tensor, state: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """One item on: previous item's vector [B, D] -> what is known now, the GRU's own state."""
        out, state = self.gru(torch.cat([previous, condition], dim=1)[:, None], state)
        return self.out(torch.cat([out[:, 0], condition], dim=1)), state


def train(model: SequenceModel, training: Training) -> None:
    """Maximum likelihood."""

    def loss(batch: Batch) -> tuple[Tensor, str]:
        items = batch.items(model.items)
        states = model.states(items, batch.conditions)
        found = batch.loss(states, items, model.items).mean()
        return found, f"loss {found.item():.3f}"

    training.run(model, loss, salt=_SALT)
