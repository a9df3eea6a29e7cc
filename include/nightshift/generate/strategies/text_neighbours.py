"""Pseudo-interactions: an item stands where its text neighbours stood.

Where a user came to a text neighbour of an item, the item becomes an extra target behind the same
history. The neighbour itself is left out of it: who has just bought a shampoo wants no second one
like it, but the next customer at the point where that one was may well take the new shampoo.
Made for every item, the short ones first. A sample weighs the more, the nearer the neighbour is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import combine, gumbel, splitmix
from nightshift.generate.neighbours import DECIMALS, TextIndex
from nightshift.generate.occurrences import latest_occurrences
from nightshift.generate.ragged import expand, first_of_groups, rank_in_groups
from nightshift.generate.samples import as_samples, contexts
from nightshift.generate.shortage import items_by_shortage
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy, count_dropped

_SECONDS_PER_SAMPLE = 2e-4
"""Measured on one core, the search for neighbours included."""
_MIN_DEPTH = 3
"""Breadth first, but fewer contexts than this per item teach a model nothing of it."""
_MIN_WEIGHT = 1e-3
"""Stands for a cosine at or below zero, where a logarithm is wanted."""
_TRUST_POWER = 4
"""A sample weighs its similarity to this power: at .9 it says much, at .5 hardly anything."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Occurrences that could lead to a target; arrays of one length."""

    target: npt.NDArray[np.int64]  # row in the chunk
    user: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]  # of the neighbour, flat in the histories
    rank: npt.NDArray[np.int64]  # 0: the latest user of that neighbour
    similarity: npt.NDArray[np.float32]

    def take(self, rows: npt.NDArray[np.integer | np.bool_]) -> Candidates:
        return Candidates(
            self.target[rows],
            self.user[rows],
            self.position[rows],
            self.rank[rows],
            self.similarity[rows],
        )


class TextNeighbours(Strategy):
    name = "text_neighbours"
    version = "3"
    produces = "interaction"
    share = 4.0  # the samples that lift cold items; the others train side tasks
    scale = 10

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE)

    def plan(self, budget: int) -> pl.DataFrame:
        """Breadth before depth: when the budget is short, fewer contexts for more items."""
        items = items_by_shortage(self.sources)
        most = self.sources.settings.generate.text_neighbours.contexts_per_item
        n_short = max(items.filter(pl.col("shortage") > 0).height, 1)
        depth = min(most, max(budget // n_short, _MIN_DEPTH))
        return items.select(
            "item_id",
            pl.lit(None, pl.String).alias("user_key"),
            "shortage",
            pl.lit(depth, pl.Int64).alias("budget"),
        ).select(WISHES)

    def fit(self) -> None:
        vectors, row_of_item = self.sources.texts
        histories = self.sources.snapshot.histories
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        self._row_of_item = row_of_item
        # A history's first item has nothing in front of it that could lead to anything.
        behind = np.flatnonzero(np.arange(len(users)) > histories.indptr[:-1][users])
        self._occurrences = latest_occurrences(
            row_of_item[histories.items[behind]],
            users[behind],
            histories.times[behind],
            behind,
            n_texts=len(vectors),
        )
        self._index = TextIndex(vectors, np.diff(self._occurrences.indptr) > 0)
        self._had = np.sort(users * self.sources.snapshot.items.height + histories.items)

    def generate(self, targets: pl.DataFrame) -> Chunk:
        codes = targets.join(
            self.sources.snapshot.item_codes, on="item_id", how="left", maintain_order="left"
        )
        items = codes["item"].to_numpy().astype(np.int64)
        found, has_neighbour = self._candidates(items)
        had = self._has(found.user, items[found.target])
        wanted = targets["budget"].to_numpy()
        drawn = self._draw(found.take(~had), items, wanted)
        missed = wanted - np.bincount(drawn.target, minlength=len(items))
        held = np.minimum(missed, _users_of(found.take(had), len(items))) * has_neighbour
        return Chunk(
            samples=as_samples(self._frame(targets, drawn)),
            dropped=count_dropped(
                [
                    ("no_neighbour", missed[~has_neighbour].sum()),
                    ("contexts_already_had", held.sum()),
                    ("too_few_contexts", (missed - held)[has_neighbour].sum()),
                ]
            ),
        )

    def _candidates(self, items: npt.NDArray[np.int64]) -> tuple[Candidates, npt.NDArray[np.bool_]]:
        """Recent users of each item's text neighbours, and which items have a neighbour."""
        own = self.sources.settings.generate.text_neighbours
        texts, of_target = np.unique(self._row_of_item[items], return_inverse=True)
        near, similarity = self._index.nearest(
            texts, own.neighbours, min_similarity=own.min_similarity
        )
        near, similarity = near[of_target], similarity[of_target]
        target, slot = np.nonzero(near >= 0)
        row, rank, at = expand(self._occurrences.indptr, near[target, slot])
        candidates = Candidates(
            target[row],
            self._occurrences.users[at],
            self._occurrences.positions[at],
            rank,
            similarity[target, slot][row],
        )
        return candidates, np.asarray((near >= 0).any(axis=1))

    def _draw(
        self,
        found: Candidates,
        items: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int64],
    ) -> Candidates:
        """A seeded draw without replacement, weighted by similarity / (1 + rank).

        A user gives a target one context, its best.
        """
        noise = gumbel(self._noise_of(items[found.target], found.user))
        score = np.log(np.maximum(found.similarity, _MIN_WEIGHT)) - np.log1p(found.rank) + noise
        order = np.lexsort((found.position, -score, found.user, found.target))
        best = order[first_of_groups(found.target[order], found.user[order])]
        order = best[np.lexsort((-score[best], found.target[best]))]
        target = found.target[order]
        return found.take(order[rank_in_groups(target) < wanted[target]])

    def _frame(self, targets: pl.DataFrame, drawn: Candidates) -> pl.DataFrame:
        length = self.sources.settings.generate.text_neighbours.max_context
        snapshot = self.sources.snapshot
        histories, item_ids = snapshot.histories, snapshot.items["item_id"]
        similarity = np.maximum(drawn.similarity.astype(np.float64), 0.0)
        return pl.DataFrame(
            {
                "item_id": targets["item_id"].gather(drawn.target),
                "user_key": snapshot.users["user_key"].gather(drawn.user),
                "context_items": contexts(
                    histories, drawn.user, drawn.position, item_ids, length=length
                ),
                "similarity": np.round(drawn.similarity.astype(np.float64), DECIMALS),
                "weight": np.round(similarity**_TRUST_POWER, DECIMALS),
                "source": item_ids.gather(histories.items[drawn.position]),
            }
        ).with_columns(
            kind=pl.lit(self.produces),
            strategy=pl.lit(self.name),
            label=pl.lit(1.0),
            scores=pl.struct("similarity", "weight").struct.json_encode(),
            lineage=pl.struct(
                version=pl.lit(self.version),
                seed=pl.lit(self.seed),
                sources=pl.concat_list("source"),
            ).struct.json_encode(),
        )

    def _has(
        self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Did the user ever have the item: [rows]."""
        pairs = users * self.sources.snapshot.items.height + items
        if not len(self._had):
            return np.zeros(len(pairs), dtype=np.bool_)
        at = np.minimum(np.searchsorted(self._had, pairs), len(self._had) - 1)
        found: npt.NDArray[np.bool_] = self._had[at] == pairs
        return found

    def _noise_of(
        self, items: npt.NDArray[np.int64], users: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint64]:
        seeded = splitmix(np.full(len(items), self.seed, dtype=np.uint64))
        pair = combine(self.sources.item_hashes[items], self.sources.user_hashes[users])
        return combine(seeded, pair)


def _users_of(candidates: Candidates, n_targets: int) -> npt.NDArray[np.int64]:
    """How many distinct users each target has: [targets]."""
    pairs = np.unique(np.stack([candidates.target, candidates.user]), axis=1)
    return np.bincount(pairs[0], minlength=n_targets)
