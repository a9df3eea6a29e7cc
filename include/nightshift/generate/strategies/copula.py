"""Customers drawn in numbers from a Gaussian copula, each realised as a short history.

What describes a customer (events, how much of it repeated, days between events, hour, price,
popularity, variety, taste) is drawn jointly: margins as they were seen among customers of the same
segment and favourite category, dependence by a Gaussian copula over all of them (Sklar, 1959; for
tables of customers: Patki et al., 2016). Numbers train no sequential model, so a history is drawn
whose means are the drawn ones: items by an exponential tilt of the shop's own popularity, several
histories a customer, of which the nearest is kept. Then its items are put in an order, as customers
take them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.behaviour.order import Order
from nightshift.generate.behaviour.sequences import Items
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.customers import made_up
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes, streams, uniform
from nightshift.generate.strategies.base import Price
from nightshift.generate.strategies.bases.tabular_model import MIN_ITEMS, TabularCustomers
from nightshift.generate.tabular.customer_numbers import (
    TIMING,
    ItemNumbers,
    describe,
    names_of,
    principal_coordinates,
    timing,
)
from nightshift.generate.tabular.gaussian_copula import GaussianCopula
from nightshift.generate.tabular.realise import Realiser

Floats = npt.NDArray[np.float64]

_SECONDS_PER_SAMPLE = 1e-2
"""Measured on one busy core with 92,000 items; a third of it with 4,000."""
_FIT_SECONDS = 5.0
"""About, with 92,000 items; half a second with 4,000."""
_ORDER = 44
"""Of the seed of what an order is learnt from."""
_DISCRETE = ("events", "length", "repeat_share", "variety")


class Copula(TabularCustomers):
    name = "copula"
    version = "2"
    salt = 141
    conditions = ("segment", "category")

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=_FIT_SECONDS)

    @cached_property
    def customers(self) -> pl.DataFrame:
        snapshot = self.sources.snapshot
        length = "events" if snapshot.shop.repeats else "items"
        long = snapshot.users.filter(pl.col(length) >= MIN_ITEMS)
        return made_up.conditions_of_users(self.sources).join(
            long.select("user_key"), on="user_key", how="semi", maintain_order="left"
        )

    def load(self, tensors: Tensors) -> None:
        self._order = Order.of(tensors)
        own = self.sources.settings.generate.copula
        self._copula = GaussianCopula(*(tensors[name] for name in GaussianCopula.PARTS))
        known = self._known(tensors["centre"], tensors["axes"])
        spread = self._copula.values.std(axis=0)[len(TIMING) :]
        self._realiser = Realiser(
            known,
            self._weights(),
            np.where(spread > 0, spread, 1.0),
            repeats=self.sources.snapshot.shop.repeats,
            width=own.max_length,
        )

    def learn(self) -> Tensors:
        """Margins and correlation of what describes the shop's customers."""
        own, snapshot = self.sources.settings.generate.copula, self.sources.snapshot
        vectors, row_of_item = self.sources.texts
        per_text = np.zeros(len(vectors))
        np.add.at(per_text, row_of_item, self._weights())
        centre, axes = principal_coordinates(vectors, per_text, own.taste)
        known = self._known(centre, axes)
        codes = self.customers.join(snapshot.user_codes, on="user_key", maintain_order="left")[
            "user"
        ].to_numpy()
        histories = snapshot.histories
        ends = histories.indptr[codes + 1]
        starts = np.maximum(histories.indptr[codes], ends - own.max_length)
        items = sequences.cut(histories, starts, ends)
        values = np.column_stack(
            [
                timing(histories, starts, ends),
                describe(items, known, repeats=snapshot.shop.repeats),
            ]
        )
        names = (*TIMING, *names_of(known, repeats=snapshot.shop.repeats))
        copula = GaussianCopula.fit(
            values,
            self._with_group(self.customers)["group"].to_numpy(),
            np.array([name in _DISCRETE for name in names]),
        )
        order = Order.learn(
            Behaviour.of(self.sources, own.max_length).of_all_items(snapshot.items.height),
            ((vectors - centre) @ axes).astype(np.float32)[row_of_item],
            np.random.default_rng([self.seed, _ORDER]),
        )
        parts = {name: getattr(copula, name) for name in GaussianCopula.PARTS}
        return parts | {"centre": centre, "axes": np.ascontiguousarray(axes)} | order.tensors()

    def _weights(self) -> Floats:
        """[items] popularity, adding up to 1."""
        weights = self.popularity()
        shares: Floats = weights / weights.sum()
        return shares

    def _known(self, centre: Floats, axes: Floats) -> ItemNumbers:
        vectors, row_of_item = self.sources.texts
        coordinates = (vectors - centre) @ axes
        return ItemNumbers.of(self.sources.snapshot.items, coordinates[row_of_item])

    def _with_group(self, customers: pl.DataFrame) -> pl.DataFrame:
        """With the `group` whose margins they have (0, 1, 2 …): [customers].

        A segment's customers of one favourite category, where there are enough of them; else the
        rest of the segment; else the rest of all, or where that is few, the largest group.
        """
        enough = self.sources.settings.generate.copula.min_group
        whole = self.customers.with_columns(
            label=pl.when(pl.len().over("segment", "category") >= enough).then(
                pl.format("{} / {}", "segment", "category")
            )
        )
        rest = pl.col("label").is_null()
        whole = whole.with_columns(
            label=pl.when(rest & (rest.sum().over("segment") >= enough))
            .then("segment")
            .otherwise("label")
        )
        named = whole["label"].drop_nulls()
        few = whole["label"].null_count() < enough and len(named) > 0
        other = named.value_counts().sort(["count", "label"])["label"][-1] if few else ""
        groups = (
            whole.select("segment", "category", pl.col("label").fill_null(other))
            .unique()
            .with_columns(group=pl.col("label").rank("dense").cast(pl.Int64) - 1)
        )
        return customers.join(groups, on=["segment", "category"], how="left", maintain_order="left")

    def draw(self, customers: pl.DataFrame, seeds: Hashes) -> tuple[Items, dict[str, Floats]]:
        """The numbers first, then the history nearest to them, in order; scores are the numbers."""
        numbers = self._copula.draw(
            uniform(streams(seeds, len(self._copula.discrete))),
            self._with_group(customers)["group"].to_numpy(),
        )
        tries = self.sources.settings.generate.copula.tries
        items, distance = self._realiser.realise(numbers[:, len(TIMING) :], seeds, tries=tries)
        names = (*TIMING, *self._realiser.names)
        items = self._order.arranged(items, seeds)
        return items, {"distance": distance} | dict(zip(names, numbers.T, strict=True))
