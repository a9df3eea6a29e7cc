"""Real histories, changed a little: slid, cropped, masked, reordered, inserted into, substituted.

Crop, mask and reorder are those of contrastive learning for recommendation (Xie et al., 2020,
CL4SRec), insert and substitute those of Liu et al., 2021 (CoSeRec): a substitute is near in text
(it could stand for the item), what is inserted is usually taken right beside (it completes it).
Here they make training windows, no contrastive pairs. Each (user, operation) is drawn by a hash of
its own. What comes out as it went in is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour import operations, sequences
from nightshift.generate.behaviour.beside import companions
from nightshift.generate.behaviour.operations import Candidates, Made
from nightshift.generate.behaviour.real_stretches import user_seeds
from nightshift.generate.behaviour.sequences import Ints, Items
from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import Hashes, combine, stable_hash, streams, uniform
from nightshift.generate.neighbours import DECIMALS, TextIndex
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.shortage import shortage
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy, count_dropped
from nightshift.generate.text.variants import most_popular_variant

_SECONDS_PER_SAMPLE = 2.5e-3
"""Measured on one busy core with 21,000 texts; next to nothing with 4,000."""
_SECONDS_PER_TEXT = 1.7e-3
"""Of learning, the search for near texts: 35 s with 21,000 of them, 5 s with 4,000."""
_SIMILAR = 5
"""Items that one of a history may give way to, or be joined by."""
_MIN_ITEMS = 3
"""Of two items nothing can be cut, and hardly anything changed."""
_TAIL_FAVOUR = 1.0
"""An item without any event is drawn 1 + this times as readily as a popular one as similar."""
_SALT = 131
_CUTS = {"crop": operations.crop, "mask": operations.mask, "reorder": operations.reorder}


class SequenceOps(Strategy):
    name = "sequence_ops"
    version = "1"
    produces = "sequence"
    scale = 5

    def price(self) -> Price:
        texts = len(self.sources.texts[0])
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=texts * _SECONDS_PER_TEXT)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        """Users with the fewest events first: long histories give a model windows enough."""
        own = self.sources.settings.generate.sequence_ops
        lengths = self.sources.snapshot.histories.lengths
        return (
            self.sources.snapshot.users.with_columns(
                hash=pl.Series(self.sources.user_hashes), length=pl.Series(lengths)
            )
            .filter(pl.col("length") >= _MIN_ITEMS)
            .with_columns(shortage=shortage(pl.col("length"), own.max_length))
            .sort(["shortage", "hash"], descending=[True, False])
            .select(
                pl.lit(None, pl.String).alias("item_id"),
                "user_key",
                "shortage",
                pl.lit(min(own.per_user, len(own.operations)), pl.Int64).alias("budget"),
            )
            .select(WISHES)
        )

    def reads(self, targets: pl.DataFrame) -> Any:
        """With what makes an item one of the tail, which is favoured."""
        return [super().reads(targets), self.sources.settings.generate.tail_events]

    def fit(self) -> None:
        learnt = self.fitted(self._learn)
        self._companions, self._companion_cosines = learnt["items"], learnt["cosines"]
        self._near_items, self._near_cosines = learnt["near"], learnt["near_cosines"]
        self._row_of_item = self.sources.texts[1]
        events = self.sources.snapshot.item_events
        tail = self.sources.settings.generate.tail_events
        self._favour = 1 + _TAIL_FAVOUR * np.maximum(1 - events / (tail + 1), 0.0)

    def _learn(self) -> Tensors:
        """What is taken beside each item, and what is near to each text that was ever taken.

        Neighbours of all texts at once: the last bits of a cosine depend on how many are asked for
        together, and so would the samples of a chunk.
        """
        own, snapshot = self.sources.settings.generate.sequence_ops, self.sources.snapshot
        beside = companions(snapshot.histories, n_items=snapshot.items.height, k=_SIMILAR)
        vectors, row_of_item = self.sources.texts
        of_text = most_popular_variant(row_of_item, snapshot.item_events, len(vectors))
        asked = np.unique(row_of_item[np.unique(snapshot.histories.items)])
        index = TextIndex(vectors, np.ones(len(vectors), dtype=np.bool_))
        found, similarity = index.nearest(asked, _SIMILAR, min_similarity=own.min_similarity)
        near = np.full((len(vectors), found.shape[1]), sequences.NOTHING, dtype=np.int32)
        cosines = np.zeros(near.shape, dtype=np.float32)
        near[asked] = np.where(found >= 0, of_text[found], sequences.NOTHING)
        cosines[asked] = similarity
        return {
            "items": beside.items,
            "cosines": beside.cosines,
            "near": near,
            "near_cosines": cosines,
        }

    def generate(self, targets: pl.DataFrame) -> Chunk:
        own = self.sources.settings.generate.sequence_ops
        snapshot = self.sources.snapshot
        codes = targets.join(snapshot.user_codes, on="user_key", how="left", maintain_order="left")
        users, seeds = codes["user"].to_numpy(), self._seeds(targets["user_key"], own.operations)
        rank = np.argsort(np.argsort(seeds, axis=1), axis=1)
        frames, unchanged = [], 0
        for number, operation in enumerate(own.operations):
            row = np.flatnonzero(rank[:, number] < targets["budget"].to_numpy())
            if not len(row):
                continue
            original, made = self._apply(operation, users[row], seeds[row, number])
            new = sequences.keys_of(original) != sequences.keys_of(made.items)
            unchanged += int((~new).sum())
            keys = targets["user_key"].gather(row)
            frames.append(self._frame(operation, keys, made).filter(pl.Series(new)))
        rows = sum(frame.height for frame in frames)
        samples = as_samples(pl.concat(frames)) if rows else empty_samples()
        reasons = [("unchanged", unchanged), ("same_by_two_operations", rows - samples.num_rows)]
        return Chunk(samples, count_dropped(reasons))

    def _seeds(self, keys: pl.Series, names: tuple[str, ...]) -> Hashes:
        """Of each user and operation: [users, operations]; those with the lowest are done."""
        users = user_seeds(self.sources, keys, _SALT)
        return combine(users[:, None], stable_hash(names)[None, :])

    def _apply(self, operation: str, users: Ints, seeds: Hashes) -> tuple[Items, Made]:
        """The latest stretch of each user's history, and what the operation makes of it."""
        own = self.sources.settings.generate.sequence_ops
        histories = self.sources.snapshot.histories
        ends = histories.indptr[users + 1]
        starts = np.maximum(histories.indptr[users], ends - own.max_length)
        original = sequences.cut(histories, starts, ends)
        match operation:
            case "slide":
                return original, self._slide(users, seeds)
            case "insert":
                made = operations.insert(
                    original, seeds, own.share, self._beside, width=own.max_length
                )
            case "substitute":
                made = operations.substitute(original, seeds, own.share, self._near)
            case _:
                made = _CUTS[operation](original, seeds, own.share)
        return original, made

    def _slide(self, users: Ints, seeds: Hashes) -> Made:
        """The stretch that ended at an earlier item: what a model would have seen then."""
        length = self.sources.settings.generate.sequence_ops.max_length
        histories = self.sources.snapshot.histories
        first, last = histories.indptr[users], histories.indptr[users + 1]
        possible = last - first - 2  # ends from the second item to the last but one
        ends = first + 2 + (uniform(streams(seeds, 1))[:, 0] * possible).astype(np.int64)
        starts = np.maximum(first, ends - length)
        latest = np.minimum(last - first, length)
        left = np.maximum(ends - (last - latest), 0)  # of the latest stretch's items, those kept
        return Made(sequences.cut(histories, starts, ends), 1 - left / latest)

    def _near(self, items: Items) -> Candidates:
        """Near in text; tail items are drawn more readily."""
        texts = self._row_of_item[items]
        return self._candidates(self._near_items[texts], self._near_cosines[texts])

    def _beside(self, items: Items) -> Candidates:
        """Taken right beside; tail items are drawn more readily."""
        return self._candidates(self._companions[items], self._companion_cosines[items])

    def _candidates(self, found: Items, similarity: npt.NDArray[np.float32]) -> Candidates:
        preference = np.maximum(similarity, 0) * self._favour[found]
        return Candidates(found, similarity, preference.astype(np.float32))

    def _frame(self, operation: str, keys: pl.Series, made: Made) -> pl.DataFrame:
        scores = {"changed": np.round(made.changed, DECIMALS)}
        if made.similarity is not None:
            scores["similarity"] = np.round(made.similarity, DECIMALS)
        return (
            sequences.columns(made.items, self.sources.snapshot.items["item_id"])
            .with_columns(
                pl.Series("user_key", keys),
                scores=pl.DataFrame(scores).to_struct().struct.json_encode(),
            )
            .with_columns(
                **self.stamp,
                lineage=pl.struct(
                    version=pl.lit(self.version),
                    seed=pl.lit(self.seed),
                    operation=pl.lit(operation),
                ).struct.json_encode(),
            )
        )
