"""The training loop: softmax over the items that compete, on what customers did.

In a small catalogue they are all items with events, in a large one some that are drawn for a step.

Arms with the same seed draw the same batches, negatives and dropout, so that a difference between
them is the samples' doing and not the dice's. Hard negatives take part in it, and synthetic
sequences on top of the real rows; samples that name items come after it (`samples.deltas`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.compute import out_of_memory
from nightshift.progress import Progress
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.model.network import Recommender
from nightshift.recommend.training.averaging import Average
from nightshift.recommend.training.loss import Piece, rows_loss
from nightshift.recommend.training.steps import (
    Groups,
    Plan,
    Rows,
    Step,
    TrainingSet,
    draw,
    placed,
    recode,
)
from nightshift.recommend.training.world import ALONE, World

_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises from zero."""
_MAX_NORM = 1.0
_ID_SPREAD = 0.02
"""Standard deviation of an id that starts without text to start from (BERT's)."""
_DICE_OF_PIECES, _DICE_APART, _DICE_OF_ITEMS = 1 << 48, 1 << 54, 1 << 56
"""Between the dropout's seeds of a step's pieces, of its real and synthetic rows, and of its items:
farther than any run has steps."""


@out_of_memory()
def train(
    model: Recommender,
    deltas: IdDeltas,
    features: Tensor,
    data: TrainingSet,
    plan: Plan,
    world: World = ALONE,
    *,
    attributes: Tensor | None = None,
) -> list[float]:
    """Train in place; returns the mean loss of the real rows per tenth of the steps.

    Args:
        features: text features of the catalogue [items, P].
        attributes: of the catalogue [items, A] (see `attribute_codes`); None: not told.

    Raises:
        StageFailed: the GPU is out of memory.
        RankLost: another rank of the `world` went away.
    """
    if not plan.works_on(data):
        return []
    run = _Run(model, deltas, features, data, plan, world, attributes)
    losses: list[float] = []
    with Progress(plan.label, total=plan.steps, unit="steps", shown=world.rank == 0) as progress:
        for number, step in zip(range(plan.steps), run.steps(), strict=False):
            losses.append(run.take(number, step))
            progress.add(1, f"loss {losses[-1]:.3f}")
    run.end()
    tenths = np.array_split(np.asarray(losses), min(10, len(losses)))
    return [round(float(part.mean()), 5) for part in tenths]


class _Run:
    """One training run: where its tensors are, and its optimiser.

    With the full softmax every step has the same items, so their features, ids and moments are
    gathered once; otherwise each step gathers those of its own.
    """

    def __init__(
        self,
        model: Recommender,
        deltas: IdDeltas,
        features: Tensor,
        data: TrainingSet,
        plan: Plan,
        world: World,
        attributes: Tensor | None,
    ) -> None:
        self.model, self.data, self.plan, self.world = model, data, plan, world
        self.device = torch.device(plan.device)
        self.precision = getattr(torch, plan.precision)
        self.home, self.codes, self.place_of = deltas, None, np.zeros(0, np.int64)
        self.n_items = len(features)
        # A table that nothing reads is none: sums over all weights stay what they are without it.
        self.attributes = attributes if attributes is not None and attributes.any() else None
        if data.every_item(plan):
            self.codes = torch.from_numpy(data.learnable())
            self.place_of = np.full(self.n_items, -1)
            self.place_of[self.codes] = np.arange(len(self.codes))
            deltas, features = deltas.of(self.codes), features[self.codes]
            if self.attributes is not None:
                self.attributes = self.attributes[self.codes]
        self.deltas, self.features = deltas.to(self.device), features.to(self.device)
        if self.attributes is not None:
            self.attributes = self.attributes.to(self.device)
        if not features.shape[1]:
            self._start_ids()
        model.to(self.device).train()
        still = {"query.weight"} | ({"attribute"} if self.attributes is None else set())
        self.parameters = [p for name, p in model.named_parameters() if name not in still]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.average = Average([*self.parameters, self.deltas.table], plan.average)

    def _start_ids(self) -> None:
        """Without text all items would start alike: those that were never moved get a place."""
        dice = torch.Generator().manual_seed(self.plan.seed)
        table = self.deltas.table
        noise = torch.randn(table.shape, generator=dice).to(table.device) * _ID_SPREAD
        table += noise * (self.deltas.steps == 0)[:, None] * (table == 0).all(1, keepdim=True)

    def steps(self) -> Iterator[Step]:
        return draw(self.data, self.plan, self.n_items, self.model.settings.id_dropout)

    def take(self, number: int, step: Step) -> float:
        """One step; returns the mean loss of its real rows."""
        rate = self.plan.learning_rate * _schedule(number, self.plan.steps, self.plan.falls)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.codes is None:
            codes, groups = recode(step.groups)
            rows: Tensor | slice = torch.from_numpy(codes).to(self.device)
        else:
            codes, groups = self.codes.numpy(), placed(step.groups, self.place_of)
            rows = slice(None)
        delta = self.deltas.table[rows].detach().requires_grad_()
        shown = torch.from_numpy(step.shown[codes]).to(self.device)[:, None]
        self.optimiser.zero_grad(set_to_none=True)
        dice = self.plan.seed * 1_000_003 + number
        loss = self._backward(rows, delta * shown, groups, dice)
        self.world.add_up([*(_gradient(tensor) for tensor in (*self.parameters, delta)), loss])
        torch.nn.utils.clip_grad_norm_(self.parameters, _MAX_NORM)
        self.optimiser.step()
        self.deltas.move(rows, _gradient(delta), rate)
        self.average.look(number)
        return float(loss)

    def _backward(self, rows: Tensor | slice, given: Tensor, groups: Groups, seed: int) -> Tensor:
        """Gradients of this rank's rows; returns their share of the real rows' mean loss.

        What synthetic rows cost is divided by the number of the real targets: they come on top,
        and leave every real row the weight it has without them.

        Args:
            rows: of the features: the step's distinct items [n]; its arrays are places in it.
            given: what is shown of their id parts [n, D].
            seed: of the dropout.
        """
        wanted = sum(int((piece.items.targets >= 0).sum()) for piece in groups[0])
        torch.manual_seed(seed + _DICE_OF_ITEMS)
        attributes = None if self.attributes is None else self.attributes[rows]
        vectors = F.dropout(
            self.model.items(self.features[rows], given, attributes),
            self.model.settings.item_dropout,
        )
        pool = len(self.data.negative_pool) if self.codes is not None else None
        sums = []
        for number, group in enumerate(groups):
            pieces = self._mine(group, seed + number * _DICE_APART)
            if pieces:
                loss = rows_loss(
                    self.model,
                    vectors,
                    pieces,
                    pool,
                    negative_mass=self.plan.negative_mass,
                    precision=self.precision,
                )
                sums.append((number, loss / wanted))
        if not sums:
            return torch.zeros((), device=self.device)
        torch.stack([each for _, each in sums]).sum().backward()
        zero = torch.zeros((), device=self.device)
        return sum((each.detach() for n, each in sums if not n), zero)

    def _mine(self, group: tuple[Rows, ...], seed: int) -> list[Piece]:
        """This rank's rows of each piece, and dice of its own for each: they fall as they do
        without the others."""
        found = []
        for number, rows in enumerate(group):
            part = self.world.part(len(rows.lengths))
            mine = rows if part is None else rows.of(part.rows)
            if len(mine.lengths):
                found.append(Piece(mine, part, seed + number * _DICE_OF_PIECES))
        return found

    def end(self) -> None:
        """Bring home what was learnt."""
        self.average.settle()
        self.model.to("cpu").eval()
        self.home.take(self.deltas, self.codes)


def _schedule(step: int, steps: int, falls: bool = True) -> float:
    """Linear warm-up, then linear down to a tenth, or level."""
    warm = max(1, round(steps * _WARM_UP))
    if step < warm:
        return (step + 1) / warm
    if not falls:
        return 1.0
    return 1.0 - 0.9 * (step - warm) / max(1, steps - warm)


def _gradient(tensor: Tensor) -> Tensor:
    """Of one step; zero where this rank had no row to learn from."""
    if tensor.grad is None:
        tensor.grad = torch.zeros_like(tensor)
    gradient: Tensor = tensor.grad
    return gradient
