"""The training loop: sampled softmax over shared negatives, on what customers did.

Arms with the same seed draw the same batches, negatives and dropout, so that a difference between
them is the samples' doing and not the dice's. Hard negatives take part in it, and synthetic
sequences on top of the real rows; samples that name items come after it (`sample_deltas`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nightshift.compute import out_of_memory
from nightshift.progress import Progress
from nightshift.recommend.model import Recommender
from nightshift.recommend.steps import Plan, Rows, Step, TrainingSet, draw, recode
from nightshift.recommend.windows import Part
from nightshift.recommend.world import ALONE, World

_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises from zero."""
_MAX_NORM = 1.0
_DICE_APART = 1 << 40
"""Between the dropout's seeds of real and synthetic rows: farther than any run has steps."""


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


@out_of_memory()
def train(
    model: Recommender,
    deltas: IdDeltas,
    features: Tensor,
    data: TrainingSet,
    plan: Plan,
    world: World = ALONE,
) -> list[float]:
    """Train in place; returns the mean loss of the real rows per tenth of the steps.

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
    steps = draw(data, plan, len(features), model.settings.id_dropout)
    losses: list[float] = []
    shown = world.rank == 0
    with Progress(plan.label, total=plan.steps, unit="steps", shown=shown) as progress:
        for number in range(plan.steps):
            rate = plan.learning_rate * _schedule(number, plan.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            step = next(steps)
            codes, groups = recode(step.groups)
            rows = torch.from_numpy(codes).to(device)
            delta = deltas.table[rows].requires_grad_()
            optimiser.zero_grad(set_to_none=True)
            step = step._replace(groups=groups)
            dice = plan.seed * 1_000_003 + number
            loss = _backward(model, features, rows, delta, step, world, dice)
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


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then linear down to a tenth."""
    warm = max(1, round(steps * _WARM_UP))
    if step < warm:
        return (step + 1) / warm
    return 1.0 - 0.9 * (step - warm) / max(1, steps - warm)


def _backward(
    model: Recommender,
    features: Tensor,
    rows: Tensor,
    delta: Tensor,
    step: Step,
    world: World,
    seed: int,
) -> Tensor:
    """Gradients of this rank's rows; returns their share of the real rows' mean loss.

    What synthetic rows cost is divided by the number of the real targets: they come on top, and
    leave every real row the weight it has without them.

    Args:
        features: of the catalogue [items, P].
        rows: codes of the step's distinct items [n]; its arrays are places in it.
        delta: their id parts [n, D].
        seed: of the dropout.
    """
    device = features.device
    wanted = int((step.groups[0].items.targets >= 0).sum())
    given = delta * torch.from_numpy(step.shown).to(device)[rows, None]
    parts = [world.part(len(group.lengths)) for group in step.groups]
    groups = step.groups
    if world.size > 1:
        groups = tuple(g if p is None else g.of(p) for g, p in zip(groups, parts, strict=True))
        used, groups = recode(groups)
        mine = torch.from_numpy(used).to(device)
        rows, given = rows[mine], given[mine]
    vectors = model.items(features[rows], given)
    sums = []
    for number, (group, part) in enumerate(zip(groups, parts, strict=True)):
        # Dice of its own for each group: the real rows' fall as they do without the others.
        torch.manual_seed(seed + number * _DICE_APART)
        if len(group.lengths):
            sums.append((number, _losses(model, vectors, group, part).sum() / wanted))
    if not sums:
        return torch.zeros((), device=device)
    torch.stack([each for _, each in sums]).sum().backward()
    return sum((each.detach() for n, each in sums if not n), torch.zeros((), device=device))


def _gradient(tensor: Tensor) -> Tensor:
    """Of one step; zero where this rank had no row to learn from."""
    if tensor.grad is None:
        tensor.grad = torch.zeros_like(tensor)
    gradient: Tensor = tensor.grad
    return gradient


def _losses(model: Recommender, vectors: Tensor, rows: Rows, part: Part | None) -> Tensor:
    """Cross-entropy of each target among itself and the negatives, weighted: [T]."""
    device, items = vectors.device, rows.items
    lengths = torch.from_numpy(rows.lengths).to(device)
    inputs, targets, negatives = (
        torch.from_numpy(array).to(device)
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
        hard = torch.from_numpy(items.hard).to(device)
        own = hard[:, None, :].expand(-1, targets.shape[1], -1)[counted]  # [T, hard]
        scores = (state[:, None, :] * vectors[own.clamp_min(0)]).sum(-1)
        logits.append(scores.masked_fill((own < 0) | (own == target[:, None]), float("-inf")))
    joined = torch.cat(logits, dim=1)
    losses = joined.logsumexp(dim=1) - positive[:, 0]
    if rows.weights is None:
        return losses
    weights = torch.from_numpy(rows.weights).to(device)
    return losses * weights[:, None].expand_as(targets)[counted]
