"""What a Bayesian network of the shop's events knows: its columns, and a row for each event.

Of the customer: `segment`, `favourite` (the category taken most), `usual_band`. Of the visit:
`hour`. Of the event: `before` (the category of the one before it), `category`, `brand`,
`price_band`, `kind`. A column with a single state is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.customers import made_up
from nightshift.generate.hashing import splitmix, uniform
from nightshift.generate.ragged import first_of_groups
from nightshift.generate.sources import Sources
from nightshift.generate.tabular.discrete import OTHER, UNKNOWN, Column, discretise

Codes = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOUR, BEFORE, CATEGORY, KIND = "hour", "before", "category", "kind"
OF_THE_CUSTOMER = {"segment": "segment", "favourite": "category", "usual_band": "price_band"}
"""The network's name of a column -> its name among made_up.CONDITIONS."""
_NAMELESS = (OTHER, UNKNOWN)
_HOURS = 24


@dataclass(frozen=True, slots=True)
class EventRows:
    """Every event of the customers that were looked at, oldest first within a customer."""

    data: dict[str, Codes]  # states of each column: [events]
    continues: Bools  # [events] is there an event of the same customer before it
    new_visit: Bools  # [events] is it on another day than that one


class NetworkData:
    """The columns of one snapshot, and its events in them."""

    def __init__(self, sources: Sources, topics: Codes | None, *, max_states: int) -> None:
        """
        Args:
            topics: [items] what stands for categories where the shop has none.
        """
        self._sources, self._max_states = sources, max_states
        items = sources.snapshot.items
        events = items["events"].to_numpy().astype(np.float64)
        by_name = {
            CATEGORY: items["category"] if topics is None else _named(topics),
            "brand": items["brand"],
            "price_band": items["price_band"],
        }
        found = {name: discretise(v, events, max_states) for name, v in by_name.items()}
        self.items: dict[str, Column] = {k: c for k, c in found.items() if c is not None}
        """Columns of the items that say something: [items] each."""

    @cached_property
    def _customers(self) -> tuple[pl.DataFrame, dict[str, Column]]:
        users = self._sources.snapshot.users
        known = users.filter(pl.col("events") > 0)
        segment = discretise(known["segment"], np.ones(known.height), self._max_states)
        band = discretise(known["price_band"], np.ones(known.height), self._max_states)
        columns = {"segment": segment, "usual_band": band}
        codes = known.join(
            self._sources.snapshot.user_codes, on="user_key", how="left", maintain_order="left"
        )["user"].to_numpy()
        if CATEGORY in self.items:
            favourite = self._favourites()[codes]
            columns["favourite"] = Column(favourite, self.items[CATEGORY].names)
        given = {name: column for name, column in columns.items() if column is not None}
        named = {
            condition: pl.Series(given[name].names).gather(given[name].codes)
            if name in given
            else pl.repeat(made_up.UNKNOWN, known.height, eager=True)
            for name, condition in OF_THE_CUSTOMER.items()
        }
        frame = known.select("user_key").with_columns(
            **named,
            length=pl.Series(self._sources.snapshot.histories.lengths[codes]),
            **{f"{name}_state": pl.Series(column.codes) for name, column in given.items()},
        )
        return frame, given

    @property
    def customers(self) -> pl.DataFrame:
        """Everyone with an event: `user_key`, made_up.CONDITIONS, `length`, `NAME_state` …"""
        return self._customers[0]

    @property
    def given(self) -> tuple[str, ...]:
        """The columns of the customer that say something."""
        return tuple(sorted(self._customers[1]))

    def _favourites(self) -> Codes:
        """[users] the category that each takes most, of those with a name; the lower of equals.

        `other` is many categories, and nobody's favourite but of those who take nothing else.
        """
        histories, category = self._sources.snapshot.histories, self.items[CATEGORY]
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        pair = users * category.size + category.codes[histories.items]
        pairs, times = np.unique(pair, return_counts=True)
        user, state = pairs // category.size, pairs % category.size
        nameless = np.isin(
            state, [category.names.index(n) for n in _NAMELESS if n in category.names]
        )
        order = np.lexsort((state, -times, nameless, user))
        first = order[first_of_groups(user[order])]
        found = np.zeros(len(histories), dtype=np.int64)
        found[user[first]] = state[first]
        return found

    @cached_property
    def tiers(self) -> list[list[str]]:
        """Columns that are given, of the visit, the category, the rest of the event.

        No parent lies in a later tier. That category comes before what it is made of is said, not
        found: a greedy search with few parents would else spend them on brand and price band.
        """
        target_kinds = self._sources.snapshot.shop.target_kinds
        given = [*self.given, *([BEFORE] if CATEGORY in self.items else [])]
        event = [*self.items, *([KIND] if len(target_kinds) > 1 else [])]
        category = [name for name in event if name == CATEGORY]
        rest = sorted(name for name in event if name != CATEGORY)
        return [given, [HOUR], *(tier for tier in (category, rest) if tier)]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """States of every column; `before` has one more, for the first event."""
        sizes = {name: column.size for name, column in self.items.items()}
        sizes |= {name: column.size for name, column in self._customers[1].items()}
        sizes |= {HOUR: _HOURS, KIND: len(self._sources.snapshot.shop.target_kinds)}
        if CATEGORY in self.items:
            sizes[BEFORE] = self.start + 1
        return {name: sizes[name] for tier in self.tiers for name in tier}

    @property
    def start(self) -> int:
        """The state of `before` of a customer's first event."""
        return self.items[CATEGORY].size

    def rows(self, most: int) -> EventRows:
        """Target events as rows; of a seeded part of the customers when there are more than `most`.

        Where the shop does not repeat, only a customer's first event with an item is one.
        """
        events = self._events(most)
        user, item = events["user"].to_numpy(), events["item"].to_numpy()
        hours = events["hours"].to_numpy()
        continues = np.concatenate([[False], user[1:] == user[:-1]]) if len(user) else user > 0
        day = hours // _HOURS
        new_visit = continues & (day != np.concatenate([day[:1], day[:-1]]))
        data = {name: column.codes[item] for name, column in self.items.items()}
        data[HOUR] = hours % _HOURS
        data[KIND] = events["kind"].to_numpy()
        if CATEGORY in self.items:
            before = np.concatenate([[self.start], data[CATEGORY][:-1]])[: len(user)]
            data[BEFORE] = np.where(continues, before, self.start)
        of_user = np.full(self._sources.snapshot.users.height, -1, dtype=np.int64)
        known = self.customers.join(
            self._sources.snapshot.user_codes, on="user_key", how="left", maintain_order="left"
        )["user"].to_numpy()
        of_user[known] = np.arange(len(known))
        for name, column in self._customers[1].items():
            data[name] = column.codes[of_user[user]]
        return EventRows({name: data[name] for name in self.sizes}, continues, new_visit)

    def _events(self, most: int) -> pl.DataFrame:
        """`user`, `item`, `hours` since 1970, `kind` (its place among the target kinds)."""
        snapshot = self._sources.snapshot
        kinds = list(snapshot.shop.target_kinds)
        share = most / max(int(snapshot.users["events"].sum()), 1)
        taken = uniform(splitmix(self._sources.user_hashes)) < share
        found = (
            snapshot.events()
            .filter(pl.col("kind").is_in(kinds))
            .join(snapshot.item_codes.lazy(), on="item_id", how="inner")
            .join(snapshot.user_codes.filter(pl.Series(taken)).lazy(), on="user_key", how="inner")
            .sort("user", "occurred_at", "tie", "item")
            .select(
                "user",
                "item",
                hours=pl.col("occurred_at").dt.epoch("s") // 3600,
                kind=pl.col("kind").replace_strict(kinds, list(range(len(kinds)))),
            )
            .collect()
        )
        if snapshot.shop.repeats:
            return found
        return found.unique(["user", "item"], keep="first", maintain_order=True)


def _named(topics: Codes) -> pl.Series:
    return pl.select(pl.format("topic {}", pl.Series(topics))).to_series()
