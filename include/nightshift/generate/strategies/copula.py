"""Customers drawn in numbers from a Gaussian copula, each realised as a short history.

What describes a customer (events, how much of it repeated, days between events, hour, price,
popularity, variety, taste) is drawn jointly: margins as they were seen among customers of the same
segment and favourite category, dependence by a Gaussian copula over all of them (Sklar, 1959; for
tables of customers: Patki et al., 2016). Numbers train no sequential model, so a history is drawn
whose means are the drawn ones: items by an exponential tilt of the shop's own popularity, several
histories a customer, of which the nearest is kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.behaviour.copies import RealStretches
from nightshift.generate.behaviour.sequences import Items
from nightshift.generate.customers import made_up
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import streams, uniform
from nightshift.generate.neighbours import DECIMALS
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.strategies.base import Chunk, Price, Strategy, count_dropped
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
_MIN_CUSTOMERS = 30
"""Correlations of fewer are noise."""
_UNSEEN = 0.5
"""An item without events counts as this many: it is drawn now and then."""
_MIN_ITEMS = 2
_DISCRETE = ("events", "length", "repeat_share", "variety")
_NUMBERS = 141


class Copula(Strategy):
    name = "copula"
    version = "1"
    produces = "sequence"

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=_FIT_SECONDS)

    def missing(self) -> str | None:
        found = self._customers().height
        if found < _MIN_CUSTOMERS:
            return f"the shop has {found} customers with a history, it takes {_MIN_CUSTOMERS}"
        return None

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        wanted = self.sources.settings.generate.copula.customers
        return made_up.wishes(self.sources, wanted, self._customers())

    def _customers(self) -> pl.DataFrame:
        """Those with a history of two items: `user_key` and made_up.CONDITIONS."""
        snapshot = self.sources.snapshot
        length = "events" if snapshot.shop.repeats else "items"
        long = snapshot.users.filter(pl.col(length) >= _MIN_ITEMS)
        return made_up.conditions_of_users(self.sources).join(
            long.select("user_key"), on="user_key", how="semi", maintain_order="left"
        )

    def fit(self) -> None:
        own = self.sources.settings.generate.copula
        learnt = self.fitted(self._learn)
        self._copula = GaussianCopula(*(learnt[name] for name in GaussianCopula.PARTS))
        known = self._known(learnt["centre"], learnt["axes"])
        spread = self._copula.values.std(axis=0)[len(TIMING) :]
        self._realiser = Realiser(
            known,
            self._weights(),
            np.where(spread > 0, spread, 1.0),
            repeats=self.sources.snapshot.shop.repeats,
            width=own.max_length,
        )
        histories = self.sources.snapshot.histories
        self._real = RealStretches(histories.indptr, histories.items)

    def _learn(self) -> Tensors:
        """Margins and correlation of what describes the shop's customers."""
        own, snapshot = self.sources.settings.generate.copula, self.sources.snapshot
        vectors, row_of_item = self.sources.texts
        per_text = np.zeros(len(vectors))
        np.add.at(per_text, row_of_item, self._weights())
        centre, axes = principal_coordinates(vectors, per_text, own.taste)
        known = self._known(centre, axes)
        customers = self._customers()
        codes = customers.join(snapshot.user_codes, on="user_key", maintain_order="left")[
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
            self._with_group(customers)["group"].to_numpy(),
            np.array([name in _DISCRETE for name in names]),
        )
        parts = {name: getattr(copula, name) for name in GaussianCopula.PARTS}
        return parts | {"centre": centre, "axes": np.ascontiguousarray(axes)}

    def _weights(self) -> Floats:
        """[items] popularity, adding up to 1."""
        weights: Floats = self.sources.snapshot.item_events.astype(np.float64) + _UNSEEN
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
        whole = self._customers().with_columns(
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

    def generate(self, targets: pl.DataFrame) -> Chunk:
        keys = targets["user_key"].to_list()
        customers = self._with_group(made_up.draw_conditions(self.sources, keys, self._customers()))
        seeds = made_up.customer_hashes(keys, self.seed, _NUMBERS)
        numbers = self._copula.draw(
            uniform(streams(seeds, len(self._copula.discrete))), customers["group"].to_numpy()
        )
        tries = self.sources.settings.generate.copula.tries
        items, distance = self._realiser.realise(numbers[:, len(TIMING) :], seeds, tries=tries)
        long = sequences.lengths_of(items) >= _MIN_ITEMS
        copies = self._real.holds(items)
        kept = pl.Series(long & ~copies)
        frame = self._frame(items, customers, numbers, distance, kept)
        samples = as_samples(frame) if frame.height else empty_samples()
        reasons = [
            ("too_short", int((~long).sum())),
            ("copies_a_customer", int((long & copies).sum())),
            ("duplicates", frame.height - samples.num_rows),
        ]
        return Chunk(samples, count_dropped(reasons))

    def _frame(
        self,
        items: Items,
        customers: pl.DataFrame,
        numbers: Floats,
        distance: Floats,
        kept: pl.Series,
    ) -> pl.DataFrame:
        names = (*TIMING, *self._realiser.names)
        scores = {"distance": distance} | dict(zip(names, numbers.T, strict=True))
        described = pl.DataFrame(
            {name: np.round(column, DECIMALS) for name, column in scores.items()}
        )
        lineage = customers.select(
            pl.lit(self.version).alias("version"),
            pl.lit(self.seed).alias("seed"),
            pl.col("user_key").alias("customer"),
            "segment",
            "category",
        )
        columns = sequences.columns(items[kept.to_numpy()], self.sources.snapshot.items["item_id"])
        return columns.with_columns(
            kind=pl.lit(self.produces),
            strategy=pl.lit(self.name),
            label=pl.lit(1.0),
            weight=pl.lit(1.0),
            scores=described.filter(kept).to_struct().struct.json_encode(),
            lineage=lineage.filter(kept).to_struct().struct.json_encode(),
        )
