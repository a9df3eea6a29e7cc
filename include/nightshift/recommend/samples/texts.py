"""What accepted texts say of items and of customers: vectors beside those that real rows gave.

    an item's text where it is ranked    unit((1 - α)·v + α·mean of its texts' embeddings)
    a customer's text profile            unit((1 - α)·p + α·features of the mean of the texts)

α is the heaviest of the owner's samples, whose weights the recipe has set; zero is what it was.
As with `samples.deltas`, customers train the model and samples only place items: nobody's history
is read by these vectors, and a night makes them anew from the samples that are accepted, alive and
not retracted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.recommend.model.features import Floats
from nightshift.recommend.model.ids import pack, unpack
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot
from nightshift.text.embeddings import embed
from nightshift.writer import DatasetWriter

ITEM_KINDS, PROFILE = ("review", "description"), "profile"
PROFILES = "profiles.safetensors"
Ints = npt.NDArray[np.int64]
Embed = Callable[[list[str]], Floats]
"""Unit sentence embeddings of texts: [texts, width]."""


def embedding(lake: Lake, settings: Settings) -> Embed:
    """The shop's sentence encoder; what the lake has embedded before is not embedded again."""

    def of(texts: list[str]) -> Floats:
        vectors, rows, _ = embed(lake, settings, texts)
        return vectors.astype(np.float32)[rows]

    return of


def once(lake: Lake, settings: Settings, samples: pl.DataFrame) -> Embed:
    """`embedding` of what these samples say, looked up once for all that ask."""
    said = samples.filter(pl.col("kind").is_in([*ITEM_KINDS, PROFILE]))["text"].drop_nulls()
    texts = said.unique().sort().to_list()
    row_of = {text: row for row, text in enumerate(texts)}
    vectors = embedding(lake, settings)(texts)

    def of(asked: list[str]) -> Floats:
        return vectors[[row_of[text] for text in asked]]

    return of


def mixed(own: Floats, said: Floats, share: Floats) -> Floats:
    """unit((1 - share)·own + share·said), row by row; a zero row stays zero.

    Args:
        own, said: [n, width].
        share: [n], in [0, 1].
    """
    out = (1 - share)[:, None] * own + share[:, None] * said
    norm = np.linalg.norm(out, axis=1, keepdims=True)
    unit: Floats = (out / np.maximum(norm, 1e-6)).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """Sentence embeddings under which some items are ranked, instead of their own."""

    codes: Ints  # [n] item codes, ascending
    vectors: Floats  # [n, width] unit

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        vectors: Floats,
        samples: pl.DataFrame,
        embed: Embed,
    ) -> Self | None:
        """Of an arm's reviews and descriptions; None without any.

        Args:
            vectors: the catalogue's own embeddings [items, width].
        """
        rows = samples.filter(pl.col("kind").is_in(ITEM_KINDS)).join(
            snapshot.item_codes, on="item_id", how="inner", maintain_order="left"
        )
        said = _said(rows, "item", embed)
        if said is None:
            return None
        codes = said.owners["item"].to_numpy().astype(np.int64)
        return cls(codes, mixed(vectors[codes], said.means, said.shares))


@dataclass(frozen=True, slots=True)
class Profiles:
    """What texts say of customers: kept beside a model, never inside it.

    They are rows about people, if by pseudonyms: a model may be handed on, this file may not.
    """

    user_keys: list[str]  # [n], ascending
    vectors: Floats  # [n, width] mean sentence embedding of each one's texts
    shares: Floats  # [n] their part of the text profile

    @classmethod
    def of(cls, samples: pl.DataFrame, embed: Embed) -> Self | None:
        """Of an arm's profiles; None without any."""
        rows = samples.filter((pl.col("kind") == PROFILE) & pl.col("user_key").is_not_null())
        said = _said(rows, "user_key", embed)
        if said is None:
            return None
        return cls(said.owners["user_key"].to_list(), said.means, said.shares)

    def save(self, writer: DatasetWriter) -> None:
        tensors: dict[str, npt.NDArray[Any]] = {
            "user_keys": np.frombuffer(pack(self.user_keys), dtype=np.uint8),
            "vectors": self.vectors,
            "shares": self.shares,
        }
        writer.write_tensors(PROFILES, tensors)

    @classmethod
    def load(cls, lake: Lake, manifest: Manifest, *, prefix: str = "") -> Self | None:
        """Those beside a stored model; None where it has none."""
        from safetensors.numpy import load_file

        if not manifest.named(prefix + PROFILES):
            return None
        tensors = load_file(lake.local_path(manifest.file(prefix + PROFILES)))
        keys = unpack(tensors["user_keys"].tobytes())
        return cls(keys, tensors["vectors"], tensors["shares"])

    def rows_of(self, user_keys: Sequence[str]) -> Ints:
        """[users] the place of each customer here, -1 for the others."""
        place = {key: row for row, key in enumerate(self.user_keys)}
        found = (place.get(key, -1) for key in user_keys)
        return np.fromiter(found, dtype=np.int64, count=len(user_keys))


@dataclass(frozen=True, slots=True)
class _Said:
    """n owners and what is said of them."""

    owners: pl.DataFrame  # one column, [n] ascending
    means: Floats  # [n, width]
    shares: Floats  # [n]


def _said(rows: pl.DataFrame, owner: str, embed: Embed) -> _Said | None:
    """The texts of each owner as one weighted mean of unit embeddings."""
    rows = rows.filter((pl.col("weight") > 0) & pl.col("text").is_not_null()).sort(
        owner, maintain_order=True
    )
    if rows.is_empty():
        return None
    vectors = embed(rows["text"].to_list())
    weights = rows["weight"].cast(pl.Float32).to_numpy()
    owners = rows.select(owner).with_row_index("first").unique(owner, keep="first")
    owners = owners.sort("first")
    first = owners["first"].to_numpy().astype(np.int64)
    means = np.zeros((len(first), vectors.shape[1]), dtype=np.float32)
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, rows.height)))
    np.add.at(means, group, weights[:, None] * vectors)
    means /= np.add.reduceat(weights, first)[:, None]
    return _Said(owners.select(owner), means, np.maximum.reduceat(weights, first))
