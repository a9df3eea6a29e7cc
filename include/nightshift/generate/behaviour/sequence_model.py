"""A causal model of stretches: which item comes next, given the condition and what was before.

A GRU (Cho et al., 2014; GRU4Rec, Hidasi et al., 2016): at ten items it learns in a minute of a CPU
what a transformer does in several. Items are frozen vectors, projected, plus a vector of their own.

Shapes in comments: B stretches, L items, D hidden.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.sampling import Candidates
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.progress import Progress

_WARM_UP = 0.05
_LAST_RATE = 0.05
"""Share of the learning rate that is left at the end of its decay (a half cosine)."""
_MAX_NORM = 1.0
_BETAS = (0.9, 0.98)
_CONDITION = 16
"""Width of one condition's embedding."""
_OWN = 0.1
"""Scale at which an item's own vector starts."""


class Conditioning(nn.Module):  # type: ignore[misc]
    """Embeddings of a condition's values, side by side."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, _CONDITION) for size in sizes)
        self.width = _CONDITION * len(sizes)

    def forward(self, conditions: Tensor) -> Tensor:  # [B, COLUMNS] -> [B, width]
        return torch.cat([table(conditions[:, i]) for i, table in enumerate(self.tables)], dim=1)


class SequenceModel(nn.Module):  # type: ignore[misc]
    """p(next item | condition, items before): logits are states · item vectors + log share."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        shares: npt.NDArray[np.float64],
        sizes: tuple[int, ...],
        hidden: int,
    ) -> None:
        super().__init__()
        self.conditioning = Conditioning(sizes)
        self.register_buffer("vectors", torch.from_numpy(vectors))
        self.project = nn.Linear(vectors.shape[1], hidden, bias=False)
        # Sparse: a step touches few items, and costs the same in a large catalogue.
        self.own = nn.Embedding(len(vectors), hidden, sparse=True)
        nn.init.normal_(self.own.weight, std=_OWN)
        self.bias = nn.Parameter(torch.from_numpy(np.log(shares)).float())
        self.begin = nn.Linear(self.conditioning.width, hidden)
        self.gru = nn.GRU(hidden + self.conditioning.width, hidden, batch_first=True)
        self.out = nn.Linear(hidden + self.conditioning.width, hidden)
        self.start = nn.Parameter(torch.zeros(hidden))

    def items(self, rows: Tensor) -> Tensor:
        """Vectors of these items: [...] -> [..., D]."""
        found: Tensor = self.project(self.vectors[rows]) + self.own(rows)
        return found

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

    def step(
        self, previous: Tensor, state: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One item on: previous item's vector [B, D] -> the state for the next, the GRU's own."""
        out, state = self.gru(torch.cat([previous, condition], dim=1)[:, None], state)
        return self.out(torch.cat([out[:, 0], condition], dim=1)), state


def rate_at(step: int, steps: int, rate: float) -> float:
    """A short rise, then a half cosine down to a twentieth."""
    rise = max(int(_WARM_UP * steps), 1)
    if step < rise:
        return rate * (step + 1) / rise
    left = 0.5 * (1 + np.cos(np.pi * (step - rise) / max(steps - rise, 1)))
    return float(rate * (_LAST_RATE + (1 - _LAST_RATE) * left))


def train(
    model: SequenceModel,
    behaviour: Behaviour,
    kinds: Kinds,
    shares: npt.NDArray[np.float64],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    label: str,
) -> None:
    """Adam on fresh stretches in every step."""
    rng = np.random.default_rng([seed, 31])
    candidates = Candidates(shares, seed)
    everything = torch.arange(len(shares))
    own = list(model.own.parameters())
    dense = [p for name, p in model.named_parameters() if not name.startswith("own")]
    optimizers = (
        torch.optim.Adam(dense, lr=rate, betas=_BETAS),
        torch.optim.SparseAdam(own, lr=rate, betas=_BETAS),
    )
    with Progress(label, total=steps, unit="steps") as progress:
        for step in range(steps):
            seen = behaviour.draw(rng, batch)
            rows = torch.from_numpy(seen.rows.astype(np.int64))
            conditions = torch.from_numpy(kinds.of_stretches(seen, behaviour))
            inside = rows >= 0
            items = model.items(rows.clamp_min(0))
            states = model.states(items, conditions)
            drawn = candidates.draw()
            others = model.items(everything if drawn is None else drawn)
            loss = candidates.loss(
                states[inside], items[inside], rows[inside], others, model.bias, drawn
            ).mean()
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(step, steps, rate)
                optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(dense, _MAX_NORM)
            for optimizer in optimizers:
                optimizer.step()
            progress.add(note=f"loss {loss.item():.3f}")
