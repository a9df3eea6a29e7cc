"""Reading a snapshot: the catalogue, the users, what they did.

An item's code is its row in `items` (sorted by `item_id`), a user's code its row in `users`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import contracts
from nightshift.errors import BadInput
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.manifest import Manifest

_KIND_CODES = {kind: 1 + place for place, kind in enumerate(contracts.EVENT_KINDS)}


@dataclass(frozen=True, slots=True)
class Shop:
    """What the store says of the shop, with the settings' overrides applied."""

    name: str
    description: str
    repeats: bool
    target_kinds: tuple[str, ...]
    currency: str | None = None
    new_every: int = 0
    """Of so many places of a list one is kept for an item without events; 0: none."""


class Snapshot:
    """One night's snapshot, read lazily."""

    def __init__(self, lake: Lake, manifest: Manifest) -> None:
        self.lake, self.manifest = lake, manifest

    @cached_property
    def shop(self) -> Shop:
        raw: dict[str, Any] = self.lake.read_json(self.manifest, "shop.json")
        return Shop(**(raw | {"target_kinds": tuple(raw["target_kinds"])}))

    @cached_property
    def items(self) -> pl.DataFrame:
        """contracts.ITEMS, sorted by item_id."""
        return self.lake.read(self.manifest, "items.parquet")

    @cached_property
    def users(self) -> pl.DataFrame:
        """contracts.USERS, sorted by user_key."""
        return self.lake.read(self.manifest, "users.parquet")

    def events(self) -> pl.LazyFrame:
        """contracts.EVENTS of all kinds, in no order across files."""
        return self.lake.scan(self.manifest, "events/")

    @property
    def searches(self) -> pl.DataFrame:
        """contracts.SEARCHES; empty when the shop has none."""
        return self.lake.read(self.manifest, "searches.parquet")

    @property
    def reviews(self) -> pl.DataFrame:
        """contracts.REVIEWS; empty when the shop has none."""
        return self.lake.read(self.manifest, "reviews.parquet")

    @cached_property
    def item_codes(self) -> pl.DataFrame:
        """`item_id`, `item` (Int32 code)."""
        return self.items.select("item_id").with_row_index("item").cast({"item": pl.Int32})

    @cached_property
    def user_codes(self) -> pl.DataFrame:
        """`user_key`, `user` (Int64 code)."""
        return self.users.select("user_key").with_row_index("user").cast({"user": pl.Int64})

    def code_events(
        self, events: pl.LazyFrame, kinds: tuple[str, ...] | None = None
    ) -> pl.DataFrame:
        """Events as codes: `user` (null: unknown before start), `user_key`, `item`, `time`, `kind`.

        Sorted by user_key, time, tie; items outside the catalogue are left out.

        Args:
            kinds: of which events; None: of targets.
        """
        return (
            events.filter(pl.col("kind").is_in(kinds or self.shop.target_kinds))
            .join(self.item_codes.lazy(), on="item_id", how="inner")
            .join(self.user_codes.lazy(), on="user_key", how="left")
            .sort("user_key", "occurred_at", "tie", "item")
            .select(
                "user",
                "user_key",
                "item",
                time=pl.col("occurred_at").dt.epoch("us"),
                kind=pl.col("kind").replace_strict(_KIND_CODES, default=0, return_dtype=pl.Int8),
            )
            .collect()
        )

    @property
    def target_kind(self) -> int:
        """What `Histories.kinds` has of the first kind of target."""
        return _KIND_CODES[self.shop.target_kinds[0]]

    @property
    def journey_kinds(self) -> tuple[str, ...]:
        """Kinds of events that a model may read: targets, and what else somebody did.

        What was only shown to somebody says nothing of what they do.
        """
        return tuple(k for k in contracts.EVENT_KINDS if k != "impression") + tuple(
            k for k in self.shop.target_kinds if k == "impression"
        )

    @cached_property
    def histories(self) -> Histories:
        """Target events of every user before start, row u being user code u.

        Where the shop does not repeat, only a user's first event with an item is one.

        Raises:
            BadInput: an event of a user that `users` does not list.
        """
        coded = self.code_events(self.events(), self.journey_kinds)
        if coded["user"].null_count():
            raise BadInput(
                "The snapshot has events of users it does not list.", hint="run collect again"
            )
        return self.histories_of(coded, np.arange(self.users.height))

    def histories_of(self, coded: pl.DataFrame, whose: npt.NDArray[np.int64]) -> Histories:
        """Histories of targets, with the journey beside them where there is more than those.

        Args:
            coded: `user` (row of the result), `item`, `time`, `kind` of what is read, by user.
            whose: see `Histories.users`.
        """
        wanted = coded["kind"].is_in([_KIND_CODES[kind] for kind in self.shop.target_kinds])
        coded = coded.with_columns(target=wanted)
        if not self.shop.repeats:
            coded = coded.filter(
                ~pl.col("target") | pl.struct("user", "item", "target").is_first_distinct()
            )
        targets = coded["target"].to_numpy()
        made = _flat(coded.filter("target"), whose)
        if targets.all():
            return made
        return replace(made, journey=replace(_flat(coded, whose), targets=targets))

    @cached_property
    def withheld(self) -> npt.NDArray[np.bool_]:
        """[items] items whose events were kept from everything that learns."""
        return self.items["withheld"].to_numpy()

    @cached_property
    def item_events(self) -> npt.NDArray[np.int64]:
        """[items] target events before start."""
        return self.items["events"].to_numpy()


def _flat(coded: pl.DataFrame, whose: npt.NDArray[np.int64]) -> Histories:
    return Histories.from_codes(
        coded["user"].to_numpy(),
        coded["item"].to_numpy(),
        coded["time"].to_numpy(),
        n_users=len(whose),
        whose=whose,
        kinds=coded["kind"].to_numpy(),
    )


def read_vectors(lake: Lake, manifest: Manifest) -> npt.NDArray[np.float32]:
    """The catalogue's sentence embeddings, unit length, in item-code order: [items, width]."""
    from safetensors.numpy import load_file

    tensors = load_file(lake.local_path(manifest.file("items.safetensors")))
    unique: npt.NDArray[np.float32] = tensors["vectors"].astype(np.float32)
    vectors: npt.NDArray[np.float32] = unique[tensors["row_of_item"]]
    return vectors
