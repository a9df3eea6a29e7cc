"""What strategies share that draw customers from a table of the shop's: short histories of nobody.

Whom a target stands for is said in customers/made_up.py.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.behaviour.copies import RealStretches
from nightshift.generate.behaviour.sequences import Items
from nightshift.generate.customers import made_up
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes
from nightshift.generate.neighbours import DECIMALS
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.strategies.base import Chunk, Strategy, count_dropped

Floats = npt.NDArray[np.float64]

MIN_ITEMS = 2
_MIN_CUSTOMERS = 30
"""What is learnt of fewer is noise."""
_SMOOTHING = 0.2
"""Weight of what was taken at any time against what was taken latest."""
_UNSEEN = 0.5
"""An item without events counts as this many: it is drawn now and then."""


class TabularCustomers(Strategy):
    """Learns a table of real customers, and draws histories of customers that are nobody."""

    produces = "sequence"
    salt: ClassVar[int]
    """Of the draws; a strategy's own."""
    conditions: ClassVar[tuple[str, ...]] = made_up.CONDITIONS
    """What a customer is drawn by, for the lineage."""

    @property
    @abstractmethod
    def customers(self) -> pl.DataFrame:
        """Real customers with a history that others are drawn from: `user_key`, CONDITIONS, …"""

    def count(self) -> int:
        """How many `customers` there are."""
        return self.customers.height

    def missing(self) -> str | None:
        found = self.count()
        if found < _MIN_CUSTOMERS:
            return f"the shop has {found} customers with a history, it takes {_MIN_CUSTOMERS}"
        return None

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        wanted = getattr(self.sources.settings.generate, self.name).customers
        return made_up.wishes(self.sources, wanted, self.customers)

    def fit(self) -> None:
        self.load(self.fitted(self.learn))
        histories = self.sources.snapshot.histories
        self._real = RealStretches(histories.indptr, histories.items)

    def popularity(self) -> Floats:
        """[items] how often each is taken now; never 0.

        Counted in the latest items of every customer, for a made-up one is a customer of today and
        a shop has seasons; smoothed by what was taken at any time.
        """
        histories = self.sources.snapshot.histories
        behind = np.repeat(histories.indptr[1:], histories.lengths) - np.arange(
            len(histories.items)
        )
        longest = getattr(self.sources.settings.generate, self.name).max_length
        ever = self.sources.snapshot.item_events.astype(np.float64) + _UNSEEN
        latest = np.bincount(histories.items[behind <= longest], minlength=len(ever))
        found: Floats = latest + _SMOOTHING * latest.sum() * ever / ever.sum()
        return found

    @abstractmethod
    def learn(self) -> Tensors:
        """What `load` needs, by a name each."""

    @abstractmethod
    def load(self, tensors: Tensors) -> None:
        """Make ready what `learn` returned, in this process or in another."""

    @abstractmethod
    def draw(self, customers: pl.DataFrame, seeds: Hashes) -> tuple[Items, dict[str, Floats]]:
        """A history of each: items [customers, longest], and scores [customers] each.

        Args:
            customers: as made_up.draw_conditions drew them.
            seeds: [customers] all that is random about one follows from its seed.
        """

    def generate(self, targets: pl.DataFrame) -> Chunk:
        keys = targets["user_key"].to_list()
        customers = made_up.draw_conditions(self.sources, keys, self.customers)
        items, scores = self.draw(customers, made_up.customer_hashes(keys, self.seed, self.salt))
        long = sequences.lengths_of(items) >= MIN_ITEMS
        copies = self._real.holds(items)
        kept = long & ~copies
        frame = self._frame(
            items[kept],
            customers.filter(pl.Series(kept)),
            {name: values[kept] for name, values in scores.items()},
        )
        samples = as_samples(frame) if frame.height else empty_samples()
        reasons = [
            ("too_short", int((~long).sum())),
            ("copies_a_customer", int((long & copies).sum())),
            ("duplicates", frame.height - samples.num_rows),
        ]
        return Chunk(samples, count_dropped(reasons))

    def _frame(
        self, items: Items, customers: pl.DataFrame, scores: dict[str, Floats]
    ) -> pl.DataFrame:
        rounded = pl.DataFrame(
            {name: np.round(values, DECIMALS) for name, values in scores.items()}
        )
        lineage = customers.select(
            pl.lit(self.version).alias("version"),
            pl.lit(self.seed).alias("seed"),
            pl.col("user_key").alias("customer"),
            *self.conditions,
        )
        return sequences.columns(items, self.sources.snapshot.items["item_id"]).with_columns(
            **self.stamp,
            scores=rounded.to_struct().struct.json_encode(),
            lineage=lineage.to_struct().struct.json_encode(),
        )
