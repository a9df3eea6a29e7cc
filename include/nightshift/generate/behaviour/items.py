"""Items in a model: a frozen vector, projected, and a vector of the item's own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_OWN = 0.1
"""Scale at which an item's own vector starts."""
_MAX_NORM = 1.0
_BETAS = (0.9, 0.98)
_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
_LAST_RATE = 0.05
"""Share of the learning rate that is left at the end."""


class ItemTable(nn.Module):  # type: ignore[misc]
    """Vectors of items, and a bias each that begins at how often the item occurs."""

    def __init__(
        self, vectors: npt.NDArray[np.float32], shares: npt.NDArray[np.float64], dim: int
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.from_numpy(vectors))
        self.project = nn.Linear(vectors.shape[1], dim, bias=False)
        # Sparse: a step touches few items, and costs the same in a large catalogue.
        self.own = nn.Embedding(len(vectors), dim, sparse=True)
        nn.init.normal_(self.own.weight, std=_OWN)
        self.bias = nn.Parameter(torch.from_numpy(np.log(shares)).float())

    def __len__(self) -> int:
        return len(self.vectors)

    def forward(self, rows: Tensor) -> Tensor:  # [...] -> [..., dim]
        found: Tensor = self.project(self.vectors[rows]) + self.own(rows)
        return found

    def all(self) -> Tensor:
        """[items, dim]."""
        found: Tensor = self(torch.arange(len(self)))
        return found


class Optimizer:
    """Adam for the dense weights and for the items' own; a rise, then half a cosine down."""

    def __init__(self, model: nn.Module, rate: float, steps: int) -> None:
        own = [p for name, p in model.named_parameters() if name.endswith("own.weight")]
        self._dense = [p for name, p in model.named_parameters() if not name.endswith("own.weight")]
        self._both = (
            torch.optim.Adam(self._dense, lr=rate, betas=_BETAS),
            torch.optim.SparseAdam(own, lr=rate, betas=_BETAS),
        )
        self._rate, self._steps, self._step = rate, steps, 0

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of the loss, clipped."""
        for optimizer in self._both:
            for group in optimizer.param_groups:
                group["lr"] = self._rate * _part(self._step, self._steps)
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._dense, _MAX_NORM)
        for optimizer in self._both:
            optimizer.step()
        self._step += 1


def _part(step: int, steps: int) -> float:
    """Of the learning rate, at this step."""
    rise = max(int(_WARM_UP * steps), 1)
    if step < rise:
        return (step + 1) / rise
    falling = 0.5 * (1 + np.cos(np.pi * (step - rise) / max(steps - rise, 1)))
    return float(_LAST_RATE + (1 - _LAST_RATE) * falling)
