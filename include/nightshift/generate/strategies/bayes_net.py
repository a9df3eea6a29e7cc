"""Customers' events drawn from a Bayesian network over what describes customers and items.

Segment, favourite category and usual price band of a customer, the hour of a visit, the category
of the event before: given these, a network (Pearl, 1988; structure by pgmpy) draws category, brand,
price band and kind of the next event, and popularity draws the item among those of that
description. Event by event this makes a short history. What the shop does not have is left out of
the network; where it has no categories, clusters of texts stand for them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.behaviour.sequences import NOTHING, Items
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes, streams, uniform
from nightshift.generate.strategies.base import Price
from nightshift.generate.strategies.bases.tabular_model import MIN_ITEMS, TabularCustomers
from nightshift.generate.tabular.bayes import (
    Parents,
    Table,
    in_order,
    information,
    learn_structure,
    learn_table,
)
from nightshift.generate.tabular.customer_numbers import returning
from nightshift.generate.tabular.discrete import Cells
from nightshift.generate.tabular.network_data import BEFORE, CATEGORY, HOUR, NetworkData
from nightshift.generate.text.topics import topics

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SECONDS_PER_SAMPLE = 2e-3
"""Measured on one busy core with 92,000 items; a twentieth of it with 4,000."""
_SECONDS_PER_EVENT = 2.5e-5
"""Of learning: 10 s with the 0.4 M events of Online Retail, 25 s with a million; one busy core."""
_MOST_EVENTS = 1_000_000
"""Events that are learnt from; of more customers than have so many, a part is taken."""
_ENOUGH_EVENTS = 5_000
"""With fewer, a search for a structure finds chance: the structure is then the obvious one."""
_OF_CATEGORY = (BEFORE, "favourite")
_OBVIOUS = {CATEGORY: "favourite", "brand": CATEGORY, "price_band": CATEGORY}
_TRIES = 4
"""Items drawn for an event where nobody takes an item twice; then the event is left out."""


class BayesNet(TabularCustomers):
    name = "bayes_net"
    version = "2"
    salt = 151

    def price(self) -> Price:
        events = min(len(self.sources.snapshot.histories.items), _MOST_EVENTS)
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=events * _SECONDS_PER_EVENT)

    @cached_property
    def customers(self) -> pl.DataFrame:
        return self._known.customers.filter(pl.col("length") >= MIN_ITEMS)

    def count(self) -> int:
        """Without `_known`, which may have to learn topics."""
        return int((self.sources.snapshot.users["events"] >= MIN_ITEMS).sum())

    @cached_property
    def _known(self) -> NetworkData:
        own = self.sources.settings.generate.bayes_net
        named = self.sources.snapshot.items["category"].null_count()
        found = None
        if named == self.sources.snapshot.items.height:
            key = [self.sources.digest, "topics"]
            found = self.fitted(self._topics, reads=key)["topic_of_item"]
        return NetworkData(self.sources, found, max_states=own.max_states)

    def _topics(self) -> Tensors:
        vectors, row_of_item = self.sources.texts
        states = self.sources.settings.generate.bayes_net.max_states
        return {"topic_of_item": topics(vectors, states, self.seed)[row_of_item]}

    def load(self, tensors: Tensors) -> None:
        parents = self._unpacked(tensors["parents"])
        self._order = in_order(parents)
        self._tables = {name: Table(parents[name], tensors[f"table_{name}"]) for name in parents}
        self._new_visit, self._returns = float(tensors["new_visit"][0]), tensors["returns"]
        self._cells = Cells(list(self._known.items.values()), self.popularity())

    def learn(self) -> Tensors:
        """Parents and tables of every drawn column, and how visits and repeats go."""
        own, known = self.sources.settings.generate.bayes_net, self._known
        rows = known.rows(_MOST_EVENTS)
        if len(rows.continues) >= _ENOUGH_EVENTS:
            parents = learn_structure(
                rows.data,
                known.tiers,
                score=f"{own.score}-d",
                max_parents=own.max_parents,
                required=self._required(own.max_parents),
            )
        else:
            drawn = [name for tier in known.tiers[1:] for name in tier]
            parents = {
                name: (_OBVIOUS[name],) if _OBVIOUS.get(name) in known.sizes else ()
                for name in drawn
            }
        parents = {
            name: tuple(sorted(a, key=lambda p: -information(rows.data, known.sizes, p, name)))
            for name, a in parents.items()
        }
        tables = {
            f"table_{name}": learn_table(rows.data, known.sizes, name, above)
            for name, above in parents.items()
        }
        new_visit = rows.new_visit.sum() / max(int(rows.continues.sum()), 1)
        return tables | {
            "parents": self._packed(parents),
            "new_visit": np.array([new_visit]),
            "returns": self._share_that_returns(own.max_length),
        }

    def _required(self, max_parents: int) -> list[tuple[str, str]]:
        """A category goes by the one before and by the favourite, as far as there is room.

        A score counts every cell of their joint table as free and would keep one of them; with
        back-off an empty cell costs nothing.
        """
        wanted = [name for name in _OF_CATEGORY if name in self._known.sizes]
        return [(name, CATEGORY) for name in wanted[:max_parents]]

    def _packed(self, parents: Parents) -> npt.NDArray[np.int8]:
        """[columns, columns] the rank of a parent of the row's column, from 1; 0 for no parent."""
        names = list(self._known.sizes)
        packed = np.zeros((len(names), len(names)), dtype=np.int8)
        for child, above in parents.items():
            for rank, parent in enumerate(above, start=1):
                packed[names.index(child), names.index(parent)] = rank
        return packed

    def _unpacked(self, packed: npt.NDArray[np.int8]) -> Parents:
        names = list(self._known.sizes)
        drawn = {name for tier in self._known.tiers[1:] for name in tier}
        return {
            name: tuple(names[above] for above in np.argsort(row, kind="stable") if row[above])
            for name, row in zip(names, packed, strict=True)
            if name in drawn
        }

    def _share_that_returns(self, width: int) -> Floats:
        """[width] of the events at each place of a short history, those whose item was there."""
        histories = self.sources.snapshot.histories
        ends = histories.indptr[1:]
        items = sequences.cut(histories, np.maximum(histories.indptr[:-1], ends - width), ends)
        found = np.zeros(width)
        if self.sources.snapshot.shop.repeats:
            there = np.maximum((items >= 0).sum(axis=0), 1)
            found[: items.shape[1]] = returning(items).sum(axis=0) / there
        return found

    def draw(self, customers: pl.DataFrame, seeds: Hashes) -> tuple[Items, dict[str, Floats]]:
        """Event by event; the score is the mean log-probability of what was drawn."""
        width = self.sources.settings.generate.bayes_net.max_length
        known, rows = self._known, len(seeds)
        states: dict[str, Codes] = {
            name: customers[f"{name}_state"].to_numpy() for name in known.given
        }
        if CATEGORY in known.items:
            states[BEFORE] = np.full(rows, known.start)
        states[HOUR] = np.zeros(rows, dtype=np.int64)
        lengths = np.minimum(customers["length"].to_numpy(), width)
        items = np.full((rows, width), NOTHING, dtype=np.int32)
        likely = np.zeros(rows)
        for place in range(width):
            noise = uniform(streams(seeds, len(self._order) + 3 + _TRIES, self.salt + 1 + place))
            moved = (noise[:, -1] < self._new_visit) | (place == 0)
            for number, column in enumerate(self._order):
                drawn, log_share = self._tables[column].draw(states, noise[:, number])
                counts = place < lengths
                if column == HOUR:  # one for a visit
                    drawn, counts = np.where(moved, drawn, states[HOUR]), counts & moved
                states[column] = drawn
                likely += np.where(counts, log_share, 0.0)
            item = self._item(states, items[:, :place], noise[:, len(self._order) : -1])
            items[:, place] = np.where(place < lengths, item, NOTHING)
            if CATEGORY in known.items:
                category = known.items[CATEGORY].codes[item]
                states[BEFORE] = np.where(item >= 0, category, states[BEFORE])
        mean = likely / np.maximum(lengths, 1)
        return sequences.keep(items, items >= 0), {"log_probability": mean}

    def _item(self, states: dict[str, Codes], earlier: Items, noise: Floats) -> Codes:
        """One of the earlier items, or one of the drawn description; -1 where all tries were there.

        Args:
            noise: uniform, [customers, 2 + tries].
        """
        place = earlier.shape[1]
        wanted = [states[name] for name in self._known.items]
        item = self._cells.draw(wanted, noise[:, 2])
        if not self.sources.snapshot.shop.repeats:
            for attempt in range(1, _TRIES):
                there = (earlier == item[:, None]).any(axis=1)
                item = np.where(there, self._cells.draw(wanted, noise[:, 2 + attempt]), item)
            return np.where((earlier == item[:, None]).any(axis=1), NOTHING, item)
        if place == 0:
            return item
        which = np.minimum((noise[:, 1] * place).astype(np.int64), place - 1)
        again = earlier[np.arange(len(item)), which]
        return np.where((noise[:, 0] < self._returns[place]) & (again >= 0), again, item)
