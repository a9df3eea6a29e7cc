"""What a training run learns from, and what is drawn for each of its steps.

Every kind of draw has a generator of its own, so that an arm with hard negatives or synthetic
sequences draws the very batches, negatives and masks of an arm without.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nightshift.recommend.model.signals import Signals
from nightshift.recommend.training.windows import Batch, SampleWindows, Windows, batches

_Ints = npt.NDArray[Any]

_HARD_PER_STEP = 4
_HALVINGS = 4
"""Pieces of a step's rows at most: a half, a quarter, and two eighths."""
_UNTOLD = 0.1
"""Share of the real windows that are read without kinds and times: a history that comes with a
request, or the context of a sample, may not tell them either."""
_BATCHES, _NEGATIVES, _SHOWN, _HARD, _SEQUENCES, _TOLD = 1, 2, 4, 6, 8, 10
"""Seeds of the generators, behind the run's."""


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
    sequences: int = 64
    """Synthetic windows beside the real ones of a step, at most."""
    full_softmax: int = 0
    """With at most so many items to learn, all of them compete for every target."""
    negative_mass: int = 0
    """As how many the negatives of a row count, however many they are; 0: as they are."""
    average: float = 0.0
    """Decay of the average of the weights; 0: the last ones count."""
    falls: bool = True
    """Whether the learning rate falls to a tenth."""
    precision: str = "float32"
    """Of the products: float32 or bfloat16."""

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
    extra: SampleWindows | None = None
    """Synthetic sequences, on top of the real rows of every step."""

    def every_item(self, plan: Plan) -> bool:
        """Do all items of the pool compete in a step, or some that are drawn?"""
        return len(self.negative_pool) <= plan.full_softmax

    def learnable(self) -> _Ints:
        """Codes of all items that rows may name: the pool, then the others, each ascending."""
        named = [] if self.extra is None else [self.extra.windows.histories.items]
        named += [] if self.hard is None else [self.hard.ravel()]
        others = np.unique(np.concatenate([*named, self.windows.histories.items]))
        others = others[(others >= 0) & ~np.isin(others, self.negative_pool)]
        return np.concatenate([self.negative_pool, others])

    def extra_per_step(self, plan: Plan) -> int:
        """Synthetic windows in a step: each comes as often as a real one, or as the plan allows."""
        if self.extra is None or not len(self.extra):
            return 0
        fair = round(plan.batch * len(self.extra) / len(self.windows))
        return min(max(1, fair), plan.sequences)


class Items(NamedTuple):
    """The items of some rows: codes, or places in a table; -1 is none."""

    inputs: _Ints  # [B, L]
    targets: _Ints  # [B, L + 1]
    negatives: _Ints | None  # [n] distinct ones, shared by all rows; None: the whole pool
    hard: _Ints | None = None  # [B, K], each row's own

    def mapped(self, change: Callable[[_Ints], _Ints]) -> Items:
        """Every array changed; what is not there stays so."""
        return Items(
            change(self.inputs),
            change(self.targets),
            None if self.negatives is None else change(self.negatives),
            None if self.hard is None else change(self.hard),
        )


class Rows(NamedTuple):
    """Rows that one forward pass takes."""

    items: Items
    lengths: _Ints  # [B]
    signals: Signals
    weights: npt.NDArray[np.float32] | None = None  # [B] of their losses; None: 1

    def of(self, some: slice) -> Rows:
        """Some of them."""
        items = self.items
        hard = None if items.hard is None else items.hard[some]
        return Rows(
            Items(items.inputs[some], items.targets[some], items.negatives, hard),
            self.lengths[some],
            Signals(*(each[some] for each in self.signals)),
            None if self.weights is None else self.weights[some],
        )

    def narrowed(self) -> Rows:
        """As wide as the longest of them."""
        width = int(self.lengths.max(initial=0))
        items, signals = self.items, self.signals
        return self._replace(
            items=items._replace(
                inputs=items.inputs[:, :width], targets=items.targets[:, : width + 1]
            ),
            signals=Signals(signals.kinds[:, :width], signals.gaps[:, : width + 1]),
        )

    def pieces(self) -> tuple[Rows, ...]:
        """Cut by length, so short histories are not filled up to the longest.

        Rows come with the short ones first; each piece is half of what is left, so that the few
        longest are filled up among themselves. A step learns from all pieces at once: steps whose
        rows were all of like length would weigh what short histories want more than what long ones
        do, and learn worse (docs/recommender.md).
        """
        many = len(self.lengths)
        ends = [many - (many >> halvings) for halvings in range(1, _HALVINGS)] + [many]
        cuts = [0, *dict.fromkeys(end for end in ends if end), many]
        parts = (self.of(slice(first, end)) for first, end in itertools.pairwise(cuts))
        return tuple(part.narrowed() for part in parts if len(part.lengths))


class Step(NamedTuple):
    """What is drawn for one step: the same on every rank."""

    groups: tuple[tuple[Rows, ...], ...]
    """The real rows, then the synthetic ones if there are any, each in pieces of like length."""
    shown: npt.NDArray[np.bool_]  # [items] the others are shown by text alone


def draw(data: TrainingSet, plan: Plan, n_items: int, id_dropout: float) -> Iterator[Step]:
    """Steps without end."""
    drawn = (_BATCHES, _NEGATIVES, _SHOWN, _HARD, _TOLD)
    rng = {of: np.random.default_rng([plan.seed, of]) for of in drawn}
    synthetic = _synthetic(data, plan)
    for batch in batches(data.windows, plan.batch, rng[_BATCHES]):
        hard = None if data.hard is None else _draw_hard(data.hard[batch.users], rng[_HARD])
        negatives = None
        if not data.every_item(plan):
            negatives = rng[_NEGATIVES].choice(
                data.negative_pool, min(plan.negatives, len(data.negative_pool)), replace=False
            )
        # Drawn for the whole catalogue: the same items lose their id in every arm.
        shown = rng[_SHOWN].random(n_items, dtype=np.float32) >= id_dropout
        items = Items(batch.inputs, batch.targets, negatives, hard)
        told = rng[_TOLD].random(len(batch.lengths)) >= _UNTOLD
        signals = Signals(*(each * told[:, None] for each in batch.signals))
        groups = [Rows(items, batch.lengths, signals).pieces()]
        if data.extra is not None and synthetic is not None:
            made = next(synthetic)
            items = Items(made.inputs, made.targets, negatives)
            weights = data.extra.weights[made.users]
            groups.append(Rows(items, made.lengths, made.signals, weights).pieces())
        yield Step(tuple(groups), shown)


def _synthetic(data: TrainingSet, plan: Plan) -> Iterator[Batch] | None:
    """Batches of the synthetic windows; None without any."""
    size = data.extra_per_step(plan)
    if data.extra is None or not size:
        return None
    return batches(data.extra.windows, size, np.random.default_rng([plan.seed, _SEQUENCES]))


def _draw_hard(table: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Some of each row's own negatives; a row with fewer than the widest loses none to filling."""
    own = np.maximum((table >= 0).sum(axis=1), 1)
    place = rng.integers(0, 2**31, _HARD_PER_STEP)[None, :] % own[:, None]
    return np.take_along_axis(table, place, axis=1)


Groups = tuple[tuple[Rows, ...], ...]


def placed(groups: Groups, place_of: _Ints) -> Groups:
    """Every code as its place in a table that has them all (-1 stays -1)."""

    def change(array: _Ints) -> _Ints:
        return np.where(array >= 0, place_of[array], -1)

    return _mapped(groups, change)


def recode(groups: Groups) -> tuple[_Ints, Groups]:
    """The distinct items of some rows, and every array as places among them (-1 stays -1)."""
    arrays = [
        array for rows in itertools.chain(*groups) for array in rows.items if array is not None
    ]
    flat = np.concatenate([array.ravel() for array in arrays]).astype(np.int64)
    distinct, inverse = np.unique(flat, return_inverse=True)
    if distinct[0] < 0:
        distinct, inverse = distinct[1:], inverse - 1
    ends = itertools.accumulate(array.size for array in arrays)
    coded = (
        inverse[end - array.size : end].reshape(array.shape)
        for array, end in zip(arrays, ends, strict=True)
    )
    return distinct, _mapped(groups, lambda _: next(coded))


def _mapped(groups: Groups, change: Callable[[_Ints], _Ints]) -> Groups:
    return tuple(
        tuple(rows._replace(items=rows.items.mapped(change)) for rows in group) for group in groups
    )
