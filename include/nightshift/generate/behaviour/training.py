"""Training on fresh stretches in every step: what the models of sequences and of baskets share.

Shapes in comments: B stretches, L items, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.items import ItemTable, Optimizer
from nightshift.generate.behaviour.sampling import Candidates
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.progress import Progress
from nightshift.settings.strategies import BehaviourVaeSettings, SeqGeneratorSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """The stretches of one step."""

    step: int
    rows: Tensor  # [B, L] item rows, -1 behind the last
    conditions: Tensor  # [B, COLUMNS]
    candidates: Candidates

    @property
    def inside(self) -> Tensor:
        """Where there is an item: [B, L]."""
        return self.rows >= 0

    def items(self, table: ItemTable) -> Tensor:
        """Vectors of the items, anything behind the last: [B, L, D]."""
        found: Tensor = table(self.rows.clamp_min(0))
        return found

    def loss(self, states: Tensor, items: Tensor, table: ItemTable) -> Tensor:
        """Cross-entropy of each item, given a state [B, L, D] for it: [items inside]."""
        inside = self.inside
        return self.candidates.loss(
            states[inside], items[inside], self.rows[inside], table, self.candidates.draw()
        )


@dataclass(frozen=True, slots=True)
class Training:
    """What is learnt from, and for how long."""

    behaviour: Behaviour
    kinds: Kinds
    shares: npt.NDArray[np.float64]
    own: BehaviourVaeSettings | SeqGeneratorSettings
    seed: int
    label: str

    def run(
        self, model: nn.Module, loss: Callable[[Batch], tuple[Tensor, str]], *, salt: int
    ) -> None:
        """Down the gradient of `loss`, which says what to note beside the progress."""
        rng = np.random.default_rng([self.seed, salt])
        candidates = Candidates(self.shares, self.seed)
        optimizer = Optimizer(model, self.own.learning_rate, self.own.steps)
        with Progress(self.label, total=self.own.steps, unit="steps") as progress:
            for step in range(self.own.steps):
                seen = self.behaviour.draw(rng, self.own.batch)
                rows = torch.from_numpy(seen.rows.astype(np.int64))
                conditions = torch.from_numpy(self.kinds.of_stretches(seen, self.behaviour))
                found, note = loss(Batch(step, rows, conditions, candidates))
                optimizer.step(found)
                progress.add(note=note)
