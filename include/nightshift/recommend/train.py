"""The training loop: sampled softmax over shared negatives, on what customers did.

Arms with the same seed draw the same batches, negatives and dropout, so that a difference between
them is the samples' doing and not the dice's. Samples that name items come after it
(`sample_deltas`); only hard negatives take part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nightshift.compute import out_of_memory
from nightshift.progress import Progress
from nightshift.recommend.model import Recommender
from nightshift.recommend.windows import Part, Windows, batches
from nightshift.recommend.world import ALONE, World

_Ints = npt.NDArray[Any]

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

    def works_on(self, data: TrainingSet) -> bool:
        """Is there a step to take, and a row to take it on?"""
        return self.steps > 0 and len(data.windows) > 0


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What is learnt from."""

    windows: Windows
    negative_pool: npt.NDArray[np.int64]
    """Codes that negatives are drawn from: items with events. A cold item is never a negative,
    or its text would be taught that nobody wants it."""
    hard: npt.NDArray[np.int32] | None = None
    """[users, K] hard negatives of each user, -1 where there are none."""


class _Items(NamedTuple):
    """The items of a step: codes, or rows of a table; -1 is none."""

    inputs: _Ints  # [B, L]
    targets: _Ints  # [B, L + 1]
    negatives: _Ints  # [n], shared by all rows
    hard: _Ints | None = None  # [B, K], each row's own

    def of(self, part: Part) -> _Items:
        """What the rows of one rank are made of."""
        hard = None if self.hard is None else self.hard[part.rows]
        return _Items(self.inputs[part.rows], self.targets[part.rows], self.negatives, hard)


class _Step(NamedTuple):
    """What is drawn for one step: the same on every rank."""

    items: _Items
    lengths: _Ints  # [B]
    shown: npt.NDArray[np.bool_]  # [items] the others are shown by text alone


@out_of_memory()
def train(
    model: Recommender,
    deltas: IdDeltas,
    features: Tensor,
    data: TrainingSet,
    plan: Plan,
    world: World = ALONE,
) -> list[float]:
    """Train in place; returns the mean loss per tenth of the steps.

    Raises:
        StageFailed: the GPU is out of memory.
        RankLost: another rank of the `world` went away.
    """
    if not plan.works_on(data):
        return []
    device = torch.device(plan.device)
    home, deltas = deltas, deltas if device.type == "cpu" else IdDeltas(deltas.table.to(device))
    features = features.to(device)
    model.to(device).train()
    parameters = [p for name, p in model.named_parameters() if not name.startswith("query.")]
    optimiser = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    steps = _steps(data, plan, len(features), model.settings.id_dropout)
    losses: list[float] = []
    shown = world.rank == 0
    with Progress(plan.label, total=plan.steps, unit="steps", shown=shown) as progress:
        for number in range(plan.steps):
            rate = plan.learning_rate * _schedule(number, plan.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            step = next(steps)
            codes, items = _recode(step.items)
            rows = torch.from_numpy(codes).to(device)
            delta = deltas.table[rows].requires_grad_()
            torch.manual_seed(plan.seed * 1_000_003 + number)
            optimiser.zero_grad(set_to_none=True)
            loss = _backward(model, features, rows, delta, step._replace(items=items), world)
            world.add_up([*(_gradient(tensor) for tensor in (*parameters, delta)), loss])
            torch.nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
            optimiser.step()
            with torch.no_grad():
                deltas.move(rows, _gradient(delta), rate)
            losses.append(float(loss))
            progress.add(1, f"loss {losses[-1]:.3f}")
    model.to("cpu").eval()
    if home is not deltas:
        home.table.copy_(deltas.table)
    tenths = np.array_split(np.asarray(losses), min(10, len(losses)))
    return [round(float(part.mean()), 5) for part in tenths]


def _steps(data: TrainingSet, plan: Plan, n_items: int, id_dropout: float) -> Iterator[_Step]:
    """Steps without end, from generators of their own."""
    negatives_rng = np.random.default_rng([plan.seed, 2])
    id_rng = np.random.default_rng([plan.seed, 4])
    # Of its own: an arm with hard negatives draws the same shared ones as an arm without.
    hard_rng = np.random.default_rng([plan.seed, 6])
    for batch in batches(data.windows, plan.batch, np.random.default_rng([plan.seed, 1])):
        hard = None if data.hard is None else _draw_hard(data.hard[batch.users], hard_rng)
        negatives = negatives_rng.choice(data.negative_pool, plan.negatives)
        # Drawn for the whole catalogue: the same items lose their id in every arm.
        shown = id_rng.random(n_items, dtype=np.float32) >= id_dropout
        yield _Step(_Items(batch.inputs, batch.targets, negatives, hard), batch.lengths, shown)


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


def _recode(items: _Items) -> tuple[_Ints, _Items]:
    """The distinct items of a step, and every array as rows of them (-1 stays -1)."""
    arrays = [array for array in items if array is not None]
    flat = np.concatenate([array.ravel() for array in arrays]).astype(np.int64)
    distinct, inverse = np.unique(flat, return_inverse=True)
    if distinct[0] < 0:
        distinct, inverse = distinct[1:], inverse - 1
    ends = itertools.accumulate(array.size for array in arrays)
    coded = (
        inverse[end - array.size : end].reshape(array.shape)
        for array, end in zip(arrays, ends, strict=True)
    )
    return distinct, _Items(*coded)


def _backward(
    model: Recommender, features: Tensor, rows: Tensor, delta: Tensor, step: _Step, world: World
) -> Tensor:
    """Gradients of this rank's rows; returns their share of the batch's mean loss.

    Args:
        features: of the catalogue [items, P].
        rows: codes of the step's distinct items [n]; its arrays are places in it.
        delta: their id parts [n, D].
    """
    device = features.device
    wanted = int((step.items.targets >= 0).sum())
    part = world.part(len(step.lengths))
    given = delta * torch.from_numpy(step.shown).to(device)[rows, None]
    items, lengths = step.items, step.lengths
    if part is not None:
        if not len(part):
            return torch.zeros((), device=device)
        used, items = _recode(items.of(part))
        mine = torch.from_numpy(used).to(device)
        rows, given, lengths = rows[mine], given[mine], lengths[part.rows]
    vectors = model.items(features[rows], given)
    loss = _losses(model, vectors, items, torch.from_numpy(lengths).to(device), part).sum() / wanted
    loss.backward()
    return loss.detach()


def _gradient(tensor: Tensor) -> Tensor:
    """Of one step; zero where this rank had no row to learn from."""
    if tensor.grad is None:
        tensor.grad = torch.zeros_like(tensor)
    gradient: Tensor = tensor.grad
    return gradient


def _losses(
    model: Recommender, vectors: Tensor, items: _Items, lengths: Tensor, part: Part | None
) -> Tensor:
    """Cross-entropy of each target among itself and the negatives: [T]."""
    inputs, targets, negatives = (
        torch.from_numpy(array).to(vectors.device)
        for array in (items.inputs, items.targets, items.negatives)
    )
    history = vectors[inputs.clamp_min(0)] * (inputs >= 0)[..., None]
    states = model.users(history, lengths, part)  # [B, L + 1, D]
    counted = targets >= 0
    state, target = states[counted], targets[counted]  # [T, D], [T]
    positive = (state * vectors[target]).sum(-1, keepdim=True)  # [T, 1]
    shared = state @ vectors[negatives].T  # [T, negatives]
    shared = shared.masked_fill(negatives[None, :] == target[:, None], float("-inf"))
    logits = [positive, shared]
    if items.hard is not None:
        hard = torch.from_numpy(items.hard).to(vectors.device)
        own = hard[:, None, :].expand(-1, targets.shape[1], -1)[counted]  # [T, hard]
        scores = (state[:, None, :] * vectors[own.clamp_min(0)]).sum(-1)
        logits.append(scores.masked_fill((own < 0) | (own == target[:, None]), float("-inf")))
    joined = torch.cat(logits, dim=1)
    return joined.logsumexp(dim=1) - positive[:, 0]
