"""The id parts of items, with an optimiser that knows them by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class IdDeltas:
    """The id part of every item, with Adam's moments by row (Kingma & Ba, 2015).

    Only the rows of a step are read and moved, so a step costs the same in a large catalogue.
    """

    table: Tensor  # [items, D]
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    steps: Tensor = field(init=False)  # [items]

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.table), torch.zeros_like(self.table)
        self.steps = torch.zeros(len(self.table), device=self.table.device)

    def move(self, rows: Tensor | slice, gradient: Tensor, rate: float) -> None:
        """One Adam step of `rows` [n] along `gradient` [n, D]; neither needs a graph."""
        beta1, beta2 = 0.9, 0.98
        self.steps[rows] += 1
        count = self.steps[rows][:, None]
        first = self.first[rows].mul_(beta1).add_(gradient, alpha=1 - beta1)
        second = self.second[rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.first[rows], self.second[rows] = first, second
        spread = (second / (1 - beta2**count)).sqrt_().add_(1e-8)
        self.table[rows] -= (first / (1 - beta1**count)).div_(spread).mul_(rate)

    def of(self, codes: Tensor) -> IdDeltas:
        """A table of these rows alone, their moments with them."""
        return self._each(lambda table: table[codes])

    def to(self, device: torch.device) -> IdDeltas:
        """On this device; itself where it is there already."""
        if self.table.device == device:
            return self
        return self._each(lambda table: table.to(device))

    def take(self, learnt: IdDeltas, codes: Tensor | None) -> None:
        """Bring home what was learnt in a table of `codes`; None: of all rows."""
        if learnt is self:
            return
        for name, table in vars(self).items():
            found = getattr(learnt, name).to(table.device)
            if codes is None:
                table.copy_(found)
            else:
                table[codes] = found

    def _each(self, changed: Callable[[Tensor], Tensor]) -> IdDeltas:
        made = IdDeltas(changed(self.table))
        made.first, made.second = changed(self.first), changed(self.second)
        made.steps = changed(self.steps)
        return made
