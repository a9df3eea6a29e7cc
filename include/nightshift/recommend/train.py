"""The training loop: sampled softmax over shared negatives, on what customers did.

Arms with the same seed draw the same batches, negatives and dropout, so that a difference between
them is the samples' doing and not the dice's. Samples that name items come after it
(`sample_deltas`); only hard negatives take part.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nightshift.progress import Progress
from nightshift.recommend.model import Recommender
from nightshift.recommend.windows import Batch, Windows, batches

_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises from zero."""
_MAX_NORM = 1.0
_HARD_PER_STEP = 4


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

    def move(self, rows: Tensor, gradient: Tensor, rate: float) -> None:
        """One Adam step of `rows` [n] along `gradient` [n, D]."""
        beta1, beta2 = 0.9, 0.98
        self.steps[rows] += 1
        count = self.steps[rows][:, None]
        first = self.first[rows].mul_(beta1).add_(gradient, alpha=1 - beta1)
        second = self.second[rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.first[rows], self.second[rows] = first, second
        step = (first / (1 - beta1**count)) / ((second / (1 - beta2**count)).sqrt() + 1e-8)
        self.table[rows] -= rate * step


@dataclass(frozen=True, slots=True)
class Plan:
    """What one training run does."""

    steps: int
    learning_rate: float
    batch: int
    negatives: int
    seed: int
    label: str = "train"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What is learnt from."""

    windows: Windows
    negative_pool: npt.NDArray[np.int64]
    """Codes that negatives are drawn from: items with events. A cold item is never a negative,
    or its text would be taught that nobody wants it."""
    hard: npt.NDArray[np.int32] | None = None
    """[users, K] hard negatives of each user, -1 where there are none."""


def train(
    model: Recommender, deltas: IdDeltas, features: Tensor, data: TrainingSet, plan: Plan
) -> list[float]:
    """Train in place; returns the mean loss per tenth of the steps."""
    if plan.steps == 0 or len(data.windows) == 0:
        return []
    device = torch.device(plan.device)
    home, deltas = deltas, deltas if device.type == "cpu" else IdDeltas(deltas.table.to(device))
    features = features.to(device)
    model.to(device).train()
    parameters = [p for name, p in model.named_parameters() if not name.startswith("query.")]
    optimiser = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    rng = np.random.default_rng([plan.seed, 1])
    negatives_rng = np.random.default_rng([plan.seed, 2])
    id_rng = np.random.default_rng([plan.seed, 4])
    # Of its own: an arm with hard negatives draws the same shared ones as an arm without.
    hard_rng = np.random.default_rng([plan.seed, 6])
    real = batches(data.windows, plan.batch, rng)
    losses: list[float] = []
    with Progress(plan.label, total=plan.steps, unit="steps") as progress:
        for step in range(plan.steps):
            rate = plan.learning_rate * _schedule(step, plan.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch = next(real)
            hard = None
            if data.hard is not None:
                hard = _draw_hard(data.hard[batch.users], hard_rng)
            negatives = negatives_rng.choice(data.negative_pool, plan.negatives)
            rows, parts = _codes(batch, hard, negatives, device)
            delta = deltas.table[rows].requires_grad_()
            # Drawn for the whole catalogue: the same items lose their id in every arm.
            shown = id_rng.random(len(features), dtype=np.float32) >= model.settings.id_dropout
            keep = torch.from_numpy(shown).to(device)[rows, None]
            items = model.items(features[rows], delta * keep)
            torch.manual_seed(plan.seed * 1_000_003 + step)
            loss = _loss(model, items, batch, *parts)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
            optimiser.step()
            with torch.no_grad():
                assert delta.grad is not None
                deltas.move(rows, delta.grad, rate)
            losses.append(float(loss.detach()))
            progress.add(1, f"loss {losses[-1]:.3f}")
    model.to("cpu").eval()
    if home is not deltas:
        home.table.copy_(deltas.table)
    tenths = np.array_split(np.asarray(losses), min(10, len(losses)))
    return [round(float(part.mean()), 5) for part in tenths]


def _draw_hard(table: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Some of each row's own negatives; a row with fewer than the widest loses none to filling."""
    own = np.maximum((table >= 0).sum(axis=1), 1)
    place = rng.integers(0, 2**31, _HARD_PER_STEP)[None, :] % own[:, None]
    return np.take_along_axis(table, place, axis=1)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then linear down to a tenth."""
    warm = max(1, round(steps * _WARM_UP))
    if step < warm:
        return (step + 1) / warm
    return 1.0 - 0.9 * (step - warm) / max(1, steps - warm)


_Parts = tuple[Tensor, Tensor, Tensor | None, Tensor]
"""Inputs, targets, hard negatives, shared negatives."""


def _codes(
    batch: Batch,
    hard: npt.NDArray[np.int32] | None,
    negatives: npt.NDArray[np.int64],
    device: torch.device,
) -> tuple[Tensor, _Parts]:
    """The distinct items of a step, and every array re-coded to rows of them (-1 stays -1)."""
    arrays: list[npt.NDArray[Any]] = [batch.inputs, batch.targets]
    if hard is not None:
        arrays.append(hard)
    arrays.append(negatives)
    flat = np.concatenate([a.ravel() for a in arrays]).astype(np.int64)
    distinct, inverse = np.unique(flat, return_inverse=True)
    if distinct[0] < 0:
        distinct, inverse = distinct[1:], inverse - 1
    ends = list(itertools.accumulate(a.size for a in arrays))
    coded = iter(
        torch.from_numpy(inverse[end - a.size : end].reshape(a.shape)).to(device)
        for a, end in zip(arrays, ends, strict=True)
    )
    inputs, targets = next(coded), next(coded)
    own = next(coded) if hard is not None else None
    return torch.from_numpy(distinct).to(device), (inputs, targets, own, next(coded))


def _loss(
    model: Recommender,
    items: Tensor,
    batch: Batch,
    inputs: Tensor,
    targets: Tensor,
    hard: Tensor | None,
    negatives: Tensor,
) -> Tensor:
    """Mean cross-entropy of the target among itself and the negatives."""
    lengths = torch.from_numpy(batch.lengths).to(items.device)
    vectors = items[inputs.clamp_min(0)] * (inputs >= 0)[..., None]
    states = model.users(vectors, lengths)  # [B, L + 1, D]
    counted = targets >= 0
    state, target = states[counted], targets[counted]  # [T, D], [T]
    positive = (state * items[target]).sum(-1, keepdim=True)  # [T, 1]
    shared = state @ items[negatives].T  # [T, negatives]
    shared = shared.masked_fill(negatives[None, :] == target[:, None], float("-inf"))
    logits = [positive, shared]
    if hard is not None:
        own = hard[:, None, :].expand(-1, targets.shape[1], -1)[counted]  # [T, hard]
        scores = (state[:, None, :] * items[own.clamp_min(0)]).sum(-1)
        logits.append(scores.masked_fill((own < 0) | (own == target[:, None]), float("-inf")))
    joined = torch.cat(logits, dim=1)
    return (joined.logsumexp(dim=1) - positive[:, 0]).mean()
