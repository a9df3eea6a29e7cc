"""What strategies share that make customers up: sequences of items that nobody had.

A target is one customer to make up. It has no item, and its `user_key` is a number that was made up
with it (`made-up-000123`): what its draws are seeded by, and what chunks are cut by. The sample's
own `user_key` is null, for there is no such customer.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from nightshift.compute import set_up_torch
from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.copies import RealStretches
from nightshift.generate.behaviour.noise import uniform
from nightshift.generate.behaviour.repeats import again, rate
from nightshift.generate.behaviour.sequences import columns
from nightshift.generate.behaviour.shop import MIN_CUSTOMERS, Behaviour, Stretches
from nightshift.generate.customers.made_up import made_up_key
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes, combine, splitmix, stable_hash
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.strategies.base import WISHES, Chunk, Refused, Strategy, count_dropped

if TYPE_CHECKING:
    from nightshift.generate.behaviour.training import Training

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]

_CONDITIONS = 20_000
"""Real stretches whose conditions are kept to draw from."""
_SHARES = 50_000
"""Stretches counted for how often each item occurs."""
_TRIED = 2000
"""Sequences drawn to see how often the model repeats an item."""
_ATTEMPTS = 5
"""A sequence that a customer had is drawn anew so often; then it is dropped. Short and common ones
are, and dropping them at once would leave too few short ones."""
_BATCH = 64
"""Sequences drawn at once."""
_DECIMALS = 4
_SALT = 2
_PERSON = 1


@dataclass(frozen=True, slots=True)
class People:
    """Customers to make up; everything drawn for one is a function of its hash."""

    hashes: Hashes  # [n]
    conditions: Ints  # [n, COLUMNS]
    lengths: Ints  # [n]

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Ints) -> People:
        return People(self.hashes[rows], self.conditions[rows], self.lengths[rows])

    def anew(self, attempt: int) -> People:
        """The same customers with other dice."""
        other = np.full(len(self), attempt, dtype=np.uint64)
        return People(combine(self.hashes, other), self.conditions, self.lengths)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a model made of them."""

    rows: Rows  # [n, length] item rows, -1 behind the last
    scores: dict[str, Floats]  # [n] each

    def replace(self, rows: Ints, by: Drawn) -> None:
        """Put others in these places."""
        self.rows[rows] = by.rows
        for name, values in by.scores.items():
            self.scores[name][rows] = values


class MadeUpCustomers(Strategy):
    """Learns stretches of histories, and draws stretches that are nobody's."""

    produces = "sequence"
    scale = 10

    @property
    def own(self) -> Any:
        """Its section of the settings; each has `sequences`, `length` and `rare`."""
        return getattr(self.sources.settings.generate, self.name)

    def missing(self) -> str | None:
        customers = self.sources.snapshot.users.filter(pl.col("events") >= 2).height
        if customers < MIN_CUSTOMERS:
            return f"only {customers} customers have two events; it learns from {MIN_CUSTOMERS}"
        return None

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        """As many customers as the settings say; each as wanted as any other."""
        return (
            pl.DataFrame({"user_key": [made_up_key(n) for n in range(self.own.sequences)]})
            .with_columns(
                item_id=pl.lit(None, pl.String),
                shortage=pl.lit(1.0),
                budget=pl.lit(1, pl.Int64),
            )
            .select(WISHES)
        )

    def fit(self) -> None:
        self.behaviour = Behaviour.of(self.sources, self.own.length)
        self._real = RealStretches(self.behaviour.indptr, self.behaviour.rows)
        set_up_torch(self.sources.settings)
        tensors = self.fitted(self._learn)
        self.kinds = Kinds.of(self.sources, self.behaviour, tensors["kind_of_item"])
        self._conditions, self._lengths = tensors["conditions"], tensors["lengths"]
        self._cumulative = np.cumsum(tensors["weights"])
        self.tolerance = float(tensors["tolerance"][0])
        self.load(tensors)

    def _learn(self) -> Tensors:
        import torch

        torch.manual_seed(self.seed)
        self.kinds = Kinds.of(self.sources, self.behaviour)
        seen = self.behaviour.draw(np.random.default_rng([self.seed, 41]), _CONDITIONS)
        conditions = self.kinds.of_stretches(seen, self.behaviour)
        tensors = self.learn()
        return tensors | {
            "kind_of_item": self.kinds.kind_of_item,
            "conditions": conditions,
            "lengths": seen.lengths,
            "weights": _rarity(conditions, self.own.rare),
            "tolerance": np.array([self._tolerance(tensors, seen, conditions)]),
        }

    def _tolerance(self, tensors: Tensors, seen: Stretches, conditions: Ints) -> float:
        """At which the model repeats items as often as customers do; 0 where nobody does."""
        wanted = rate(seen.rows)
        try:
            self.load(tensors)
        except Refused:
            return 0.0  # `fit` says it
        if not self.behaviour.repeats or wanted == 0:
            return 0.0
        self.tolerance = 1.0
        people = People(splitmix(np.arange(_TRIED, dtype=np.uint64)), conditions, seen.lengths)
        found = rate(self.draw(people.take(np.arange(_TRIED))).rows)
        return min(1.0, wanted / found) if found else 1.0

    def shares(self) -> Floats:
        """How often each item occurs in stretches: [items]."""
        return self.behaviour.shares(np.random.default_rng([self.seed, 42]), _SHARES)

    @abstractmethod
    def learn(self) -> Tensors:
        """What `load` needs, by a name each; those of `_learn` are taken."""

    @abstractmethod
    def load(self, tensors: Tensors) -> None:
        """Make ready what `learn` returned, in this process or in another.

        Raises:
            Refused: it is worth nothing.
        """

    def training(self, shares: Floats) -> Training:
        """Of a model that learns by maximum likelihood."""
        from nightshift.generate.behaviour.training import Training

        label = f"learn {self.name}"
        return Training(self.behaviour, self.kinds, shares, self.own, self.seed, label)

    @abstractmethod
    def draw(self, people: People) -> Drawn:
        """A sequence of each; what one gets depends on nobody else."""

    def in_batches(
        self, people: People, draw: Callable[[People], tuple[Rows, Floats]]
    ) -> tuple[Rows, Floats]:
        """What `draw` makes of a batch, for all: item rows [n, length], and a score [n]."""
        import torch

        from nightshift.generate.behaviour.sampling import in_batches

        rows = np.full((len(people), self.own.length), -1, dtype=np.int32)
        scores = np.zeros(len(people))

        def work(batch: Ints) -> None:
            rows[batch], scores[batch] = draw(people.take(batch))

        with torch.no_grad():
            in_batches(len(people), _BATCH, work)
        return rows, scores

    def generate(self, targets: pl.DataFrame) -> Chunk:
        people = self._people(targets)
        drawn = self.draw(people)
        bad = self._bad(drawn.rows)
        for attempt in range(1, _ATTEMPTS):
            worse = np.flatnonzero(bad.any(axis=0))
            if not len(worse):
                break
            drawn.replace(worse, self.draw(people.take(worse).anew(attempt)))
            bad[:, worse] = self._bad(drawn.rows[worse])
        kept = np.flatnonzero(~bad.any(axis=0))
        return Chunk(
            samples=self._samples(people, drawn, kept),
            dropped=count_dropped(
                [
                    ("copies_a_customer", int(bad[0].sum())),
                    ("has_an_item_twice", int((bad[1] & ~bad[0]).sum())),
                ]
            ),
        )

    def _bad(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which sequences a customer had, and which repeat where nobody does: [2, n]."""
        repeated = again(rows).any(axis=1) & (not self.behaviour.repeats)
        return np.stack([self._real.holds(rows), repeated])

    def _people(self, targets: pl.DataFrame) -> People:
        """Whom the targets stand for: [samples wanted]."""
        keys = pl.select(
            pl.format("{}/{}/{}", pl.lit(self.name), pl.lit(self.seed), targets["user_key"])
        ).to_series()
        hashes = stable_hash(keys.to_list(), _SALT)
        at = np.searchsorted(
            self._cumulative, uniform(hashes, 1, salt=_PERSON)[:, 0] * self._cumulative[-1]
        )
        return People(hashes, self._conditions[at], self._lengths[at])

    def _samples(self, people: People, drawn: Drawn, kept: Ints) -> pa.Table:
        if not len(kept):
            return empty_samples()
        ids = self.sources.snapshot.items["item_id"].gather(self.behaviour.codes)
        return as_samples(
            columns(drawn.rows[kept], ids)
            .with_columns(
                scores=pl.Series(
                    _json({name: np.round(v[kept], _DECIMALS) for name, v in drawn.scores.items()})
                ),
                condition=self._told(people, kept),
            )
            .with_columns(
                **self.stamp,
                lineage=pl.struct(
                    "condition",
                    version=pl.lit(self.version),
                    seed=pl.lit(self.seed),
                ).struct.json_encode(),
            )
        )

    def _told(self, people: People, kept: Ints) -> pl.Series:
        """The condition in words."""
        return self.kinds.names(people.conditions[kept]).to_struct("condition")


def _rarity(conditions: Ints, power: float) -> Floats:
    """How likely each kept condition is drawn: the rarer its segment and kind of item, the more.

    Args:
        power: 0: as in the shop; 1: every segment with every kind alike.
    """
    _, cell, counts = np.unique(conditions[:, :2], axis=0, return_inverse=True, return_counts=True)
    weights: Floats = counts[cell.ravel()].astype(np.float64) ** -power
    weights /= weights.sum()
    return weights


def _json(columns: dict[str, Floats]) -> list[str]:
    names = list(columns)
    return [
        json.dumps(dict(zip(names, values, strict=True)))
        for values in zip(*(columns[name].tolist() for name in names), strict=True)
    ]
