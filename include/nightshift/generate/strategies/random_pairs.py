"""A placebo: real contexts, and items drawn at random. What it earns, any pairing earns.

The context is a user's history up to a random place; the item is drawn from the whole catalogue,
each as likely as any other, and the user never had it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.behaviour.real_stretches import user_seeds
from nightshift.generate.hashing import combine, streams, uniform
from nightshift.generate.samples import as_samples, contexts
from nightshift.generate.strategies.base import Chunk, count_dropped
from nightshift.generate.strategies.bases.placebo import Placebo

_SALT_ITEM = 122
_TRIES = 8
"""Items drawn for a pair; the first that the user never had is taken."""


class RandomPairs(Placebo):
    name = "random_pairs"
    version = "1"
    produces = "interaction"
    salt = 121

    @property
    def wanted(self) -> int:
        return self.sources.settings.generate.random_pairs.pairs

    def generate(self, targets: pl.DataFrame) -> Chunk:
        snapshot = self.sources.snapshot
        row, users, place = self.places(targets)
        items = self._draw_items(targets["user_key"].gather(row), users, place)
        found = items >= 0
        row, users, place, items = row[found], users[found], place[found], items[found]
        item_ids = snapshot.items["item_id"]
        frame = pl.DataFrame(
            {
                "item_id": item_ids.gather(items),
                "user_key": targets["user_key"].gather(row),
                "context_items": contexts(
                    snapshot.histories,
                    users,
                    place,
                    item_ids,
                    length=self.sources.settings.generate.random_pairs.max_context,
                ),
            }
        ).with_columns(
            **self.stamp,
            scores=pl.lit("{}"),
            lineage=pl.struct(
                version=pl.lit(self.version), seed=pl.lit(self.seed)
            ).struct.json_encode(),
        )
        return Chunk(as_samples(frame), count_dropped([("pairs_already_had", int((~found).sum()))]))

    def _draw_items(
        self, keys: pl.Series, users: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """An item for each pair that its user never had; -1 where every try met one: [pairs]."""
        snapshot = self.sources.snapshot
        n_items = snapshot.items.height
        rank = (places - snapshot.histories.indptr[users]).astype(np.uint64)
        seeds = combine(user_seeds(self.sources, keys, _SALT_ITEM), rank)
        drawn = (uniform(streams(seeds, _TRIES)) * n_items).astype(np.int64)
        distinct = np.unique(users)
        theirs = snapshot.histories.take(distinct)
        had = np.repeat(distinct, theirs.lengths) * n_items + theirs.items
        new = ~np.isin(users[:, None] * n_items + drawn, had)
        first = new.argmax(axis=1)
        chosen = np.take_along_axis(drawn, first[:, None], axis=1)[:, 0]
        return np.where(new.any(axis=1), chosen, -1)
