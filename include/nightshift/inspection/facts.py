"""What a sample is checked against: the catalogue, the users, and who had what before the night."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors

UNKNOWN = -1
"""The code of an item or user that the snapshot does not list."""

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts to unit vectors: [texts, width]."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Tonight's facts. Codes are rows of the snapshot's tables."""

    night: str
    strategies: tuple[str, ...]  # those that gather counted tonight
    items: pl.DataFrame  # item_id, item (Int64 code), title, item_text (all that is said of it)
    users: pl.DataFrame  # user_key, user (Int64 code)
    pairs: npt.NDArray[np.int64]  # sorted distinct user * items + item of every history
    vectors: npt.NDArray[np.float32]  # [items, width] unit length
    embed: Embed
    repeats: bool  # do customers of this shop take an item more than once
    item_events: npt.NDArray[np.int64]  # [items] how often each is in the histories

    def coded(self, rows: pl.DataFrame, name: str) -> pl.DataFrame:
        """With `code`, that of the item whose id stands in the column `name`; UNKNOWN if none."""
        codes = self.items.select(pl.col("item_id").alias(name), code="item")
        return rows.join(codes, on=name, how="left", maintain_order="left").with_columns(
            pl.col("code").fill_null(UNKNOWN)
        )

    def had(self, users: pl.Series, items: pl.Series) -> pl.Series:
        """[rows] was the item among the user's events before the night; False where unknown."""
        user, item = users.to_numpy().astype(np.int64), items.to_numpy().astype(np.int64)
        found = np.zeros(len(user), dtype=np.bool_)
        if len(self.pairs) and len(user):
            pair = user * self.items.height + item
            place = np.searchsorted(self.pairs, pair)
            found = self.pairs[np.minimum(place, len(self.pairs) - 1)] == pair
        return pl.Series(found & (user != UNKNOWN) & (item != UNKNOWN))


def facts_of(
    lake: Lake,
    settings: Settings,
    night: str,
    *,
    snapshot: Manifest,
    vectors: Manifest,
    strategies: Sequence[str],
) -> Facts:
    """The facts of a night, from its snapshot and its vectors."""
    shop = Snapshot(lake, snapshot)
    histories = shop.histories
    owners = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        from nightshift.text.embeddings import embed as embed_texts

        distinct, rows, _ = embed_texts(lake, settings, texts)
        found: npt.NDArray[np.float32] = distinct[rows].astype(np.float32)
        return found

    return Facts(
        night=night,
        strategies=tuple(sorted(strategies)),
        items=shop.item_codes.select(
            "item_id",
            pl.col("item").cast(pl.Int64),
            title=shop.items["title"],
            item_text=shop.items.select(
                pl.concat_str("text", "brand", "category", separator=". ", ignore_nulls=True)
            ).to_series(),
        ),
        users=shop.user_codes,
        pairs=np.unique(owners * shop.items.height + histories.items),
        vectors=read_vectors(lake, vectors),
        embed=embed,
        repeats=shop.shop.repeats,
        item_events=np.bincount(histories.items, minlength=shop.items.height),
    )
