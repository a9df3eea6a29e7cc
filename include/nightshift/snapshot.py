"""Reading a snapshot: the catalogue, the users, and their histories as flat arrays.

An item's code is its row in `items` (sorted by `item_id`), a user's code its row in `users`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.errors import BadInput
from nightshift.lake import Lake
from nightshift.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Histories:
    """Items of each user, oldest first, in compressed rows.

    `items[indptr[u]:indptr[u + 1]]` are the item codes of user u, `times` (microseconds since
    1970) beside them.
    """

    indptr: npt.NDArray[np.int64]  # [users + 1]
    items: npt.NDArray[np.int32]  # [events]
    times: npt.NDArray[np.int64]  # [events]
    users: npt.NDArray[np.int64] | None = None
    """[users] whose history each row is: user codes of the snapshot, -1 for somebody it does not
    know. None: rows of nobody in particular."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, user: int) -> npt.NDArray[np.int32]:
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.indptr)

    def last(self, length: int) -> npt.NDArray[np.int32]:
        """The last `length` items of every user, right-aligned, -1 in front: [users, length]."""
        position = self.indptr[1:, None] - np.arange(length, 0, -1)[None, :]
        inside = position >= self.indptr[:-1, None]
        if not len(self.items):
            return np.full((len(self), length), -1, dtype=np.int32)
        return np.where(inside, self.items[np.maximum(position, 0)], np.int32(-1))

    def take(self, users: npt.NDArray[np.int64]) -> Histories:
        """The histories of these users, in this order."""
        lengths = self.lengths[users]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        rows = np.repeat(self.indptr[users], lengths) + offsets
        whose = None if self.users is None else self.users[users]
        return Histories(indptr, self.items[rows], self.times[rows], whose)

    @classmethod
    def from_codes(
        cls,
        users: npt.NDArray[np.int64],
        items: npt.NDArray[np.int32],
        times: npt.NDArray[np.int64],
        *,
        n_users: int,
        whose: npt.NDArray[np.int64] | None = None,
    ) -> Histories:
        """From rows that are sorted by user already; `whose` as `users`."""
        indptr = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        return cls(indptr, items.astype(np.int32), times.astype(np.int64), whose)


@dataclass(frozen=True, slots=True)
class Shop:
    """What the store says of the shop, with the settings' overrides applied."""

    name: str
    description: str
    repeats: bool
    target_kinds: tuple[str, ...]
    currency: str | None = None


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

    def code_events(self, events: pl.LazyFrame) -> pl.DataFrame:
        """Target events as codes: `user` (null: unknown before start), `user_key`, `item`, `time`.

        Sorted by user_key, time, tie; items outside the catalogue are left out.
        """
        return (
            events.filter(pl.col("kind").is_in(self.shop.target_kinds))
            .join(self.item_codes.lazy(), on="item_id", how="inner")
            .join(self.user_codes.lazy(), on="user_key", how="left")
            .sort("user_key", "occurred_at", "tie", "item")
            .select(
                "user",
                "user_key",
                "item",
                time=pl.col("occurred_at").dt.epoch("us"),
            )
            .collect()
        )

    @cached_property
    def histories(self) -> Histories:
        """Target events of every user before start, row u being user code u.

        Where the shop does not repeat, only a user's first event with an item is one.

        Raises:
            BadInput: an event of a user that `users` does not list.
        """
        coded = self.code_events(self.events())
        if coded["user"].null_count():
            raise BadInput(
                "The snapshot has events of users it does not list.", hint="run collect again"
            )
        if not self.shop.repeats:
            coded = coded.unique(["user", "item"], keep="first", maintain_order=True)
        return Histories.from_codes(
            coded["user"].to_numpy(),
            coded["item"].to_numpy(),
            coded["time"].to_numpy(),
            n_users=self.users.height,
            whose=np.arange(self.users.height),
        )

    @cached_property
    def withheld(self) -> npt.NDArray[np.bool_]:
        """[items] items whose events were kept from everything that learns."""
        return self.items["withheld"].to_numpy()

    @cached_property
    def item_events(self) -> npt.NDArray[np.int64]:
        """[items] target events before start."""
        return self.items["events"].to_numpy()


def read_vectors(lake: Lake, manifest: Manifest) -> npt.NDArray[np.float32]:
    """The catalogue's sentence embeddings, unit length, in item-code order: [items, width]."""
    from safetensors.numpy import load_file

    tensors = load_file(lake.local_path(manifest.file("items.safetensors")))
    unique: npt.NDArray[np.float32] = tensors["vectors"].astype(np.float32)
    vectors: npt.NDArray[np.float32] = unique[tensors["row_of_item"]]
    return vectors
