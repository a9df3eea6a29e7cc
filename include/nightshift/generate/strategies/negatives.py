"""Hard negatives: near what the user bought, popular, and never touched by the user.

Candidates are text neighbours of the user's latest items, weighted by similarity and
popularity ** power. What is too similar to anything the user ever had is screened: it may well
be wanted (false negatives, Robinson et al., 2021).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import combine, gumbel, splitmix
from nightshift.generate.neighbours import DECIMALS, TextIndex
from nightshift.generate.ragged import expand, first_of_groups, rank_in_groups
from nightshift.generate.samples import as_samples, contexts
from nightshift.generate.shortage import shortage
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy, count_dropped
from nightshift.generate.text.variants import most_popular_variant
from nightshift.histories import Histories

_SECONDS_PER_SAMPLE = 2e-3
"""Measured on one core."""
_ANCHORS = 10
"""The user's latest distinct texts around which negatives are looked for."""
_SPARE = 3
"""Candidates screened per negative wanted: screening takes some of them."""
_CONTEXT = 30
"""Items of the user's history that a sample carries."""
_SCREEN_USERS = 16
"""Users whose similarities are multiplied out together."""


class Negatives(Strategy):
    name = "negatives"
    version = "2"
    produces = "negative"
    scale = 5

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        """Users with the fewest events first, then the latest active; every user has a place."""
        settings = self.sources.settings.generate
        return (
            self.sources.snapshot.users.with_columns(hash=pl.Series(self.sources.user_hashes))
            .filter(pl.col("events") > 0)
            .with_columns(shortage=shortage(pl.col("events"), settings.tail_events))
            .sort(["shortage", "last_event", "hash"], descending=[True, True, False])
            .select(
                pl.lit(None, pl.String).alias("item_id"),
                "user_key",
                "shortage",
                pl.lit(settings.negatives.per_user, pl.Int64).alias("budget"),
            )
            .select(WISHES)
        )

    def fit(self) -> None:
        vectors, row_of_item = self.sources.texts
        events = self.sources.snapshot.item_events
        self._item_of_text = most_popular_variant(row_of_item, events, len(vectors))
        self._popularity = events[self._item_of_text].astype(np.float64)
        self._row_of_item = row_of_item
        # Nobody is told that an item without events is unwanted.
        self._index = TextIndex(vectors, self._popularity > 0)

    def generate(self, targets: pl.DataFrame) -> Chunk:
        own = self.sources.settings.generate.negatives
        snapshot = self.sources.snapshot
        codes = targets.join(snapshot.user_codes, on="user_key", how="left", maintain_order="left")
        users = codes["user"].to_numpy()
        wanted = targets["budget"].to_numpy()
        had = _distinct_texts(snapshot.histories.take(users), self._row_of_item)
        target, text, similarity = self._candidates(had, own.pool)
        untouched = ~_member(target, text, had)
        target, text, similarity = target[untouched], text[untouched], similarity[untouched]
        weight = np.maximum(similarity, 1e-3) * self._popularity[text] ** own.popularity_power
        score = np.log(weight) + gumbel(self._noise_of(users[target], self._item_of_text[text]))
        order = np.lexsort((-score, target))
        spare = order[rank_in_groups(target[order]) < _SPARE * wanted[target[order]]]
        closest = self._closest(target[spare], text[spare], had)
        passed = spare[closest <= own.max_similarity]
        keep = passed[rank_in_groups(target[passed]) < wanted[target[passed]]]
        frame = self._frame(users[target[keep]], text[keep], similarity[keep])
        missed = wanted - np.bincount(target[keep], minlength=len(users))
        screened = np.bincount(target[spare], closest > own.max_similarity, len(users))
        too_similar = np.minimum(missed, screened.astype(np.int64))
        return Chunk(
            samples=as_samples(frame),
            dropped=count_dropped(
                [
                    ("negatives_too_similar", too_similar.sum()),
                    ("too_few_candidates", (missed - too_similar).sum()),
                ]
            ),
        )

    def _candidates(
        self, had: Histories, pool: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Neighbours of each user's latest texts: (target, text, best cosine), no pair twice."""
        anchors = had.last(_ANCHORS)
        target, slot = np.nonzero(anchors >= 0)
        anchor, of_anchor = np.unique(anchors[target, slot], return_inverse=True)
        near, cosine = self._index.nearest(anchor, pool, min_similarity=0.0)
        row, column = np.nonzero(near[of_anchor] >= 0)
        target = target[row]
        text, similarity = near[of_anchor[row], column], cosine[of_anchor[row], column]
        order = np.lexsort((-similarity, text, target))
        best = order[first_of_groups(target[order], text[order])]
        return target[best], text[best], similarity[best]

    def _closest(
        self, target: npt.NDArray[np.int64], text: npt.NDArray[np.int32], had: Histories
    ) -> npt.NDArray[np.float32]:
        """The highest cosine of each candidate with any text its user ever had: [rows].

        `target` is sorted; users are multiplied out in small groups of similar size.
        """
        vectors, _ = self.sources.texts
        out = np.zeros(len(target), dtype=np.float32)
        candidates = np.searchsorted(target, np.arange(len(had) + 1))
        by_size = np.argsort(had.lengths, kind="stable")
        for start in range(0, len(by_size), _SCREEN_USERS):
            group = by_size[start : start + _SCREEN_USERS]
            row, rank, at = expand(candidates, group)
            if not len(row):
                continue
            mine = np.zeros((len(group), rank.max() + 1, vectors.shape[1]), dtype=np.float32)
            mine[row, rank] = vectors[text[at]]
            h_row, h_rank, h_at = expand(had.indptr, group)
            theirs = np.zeros((len(group), h_rank.max() + 1, vectors.shape[1]), dtype=np.float32)
            theirs[h_row, h_rank] = vectors[had.items[h_at]]
            highest = np.matmul(mine, theirs.transpose(0, 2, 1)).max(axis=2)
            out[at] = np.round(highest[row, rank], DECIMALS)
        return out

    def _noise_of(
        self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint64]:
        seeded = splitmix(np.full(len(items), self.seed, dtype=np.uint64))
        pair = combine(self.sources.user_hashes[users], self.sources.item_hashes[items])
        return combine(seeded, pair)

    def _frame(
        self,
        users: npt.NDArray[np.int64],
        texts: npt.NDArray[np.int32],
        similarity: npt.NDArray[np.float32],
    ) -> pl.DataFrame:
        snapshot = self.sources.snapshot
        histories, item_ids = snapshot.histories, snapshot.items["item_id"]
        ends = histories.indptr[users + 1]
        return pl.DataFrame(
            {
                "item_id": item_ids.gather(self._item_of_text[texts]),
                "user_key": snapshot.users["user_key"].gather(users),
                "context_items": contexts(histories, users, ends, item_ids, length=_CONTEXT),
                "similarity": np.round(similarity.astype(np.float64), DECIMALS),
                "popularity": self._popularity[texts],
            }
        ).with_columns(
            kind=pl.lit(self.produces),
            strategy=pl.lit(self.name),
            label=pl.lit(0.0),
            weight=pl.lit(1.0),
            scores=pl.struct("similarity", "popularity").struct.json_encode(),
            lineage=pl.struct(
                version=pl.lit(self.version),
                seed=pl.lit(self.seed),
                sources=pl.col("context_items").list.tail(_ANCHORS),
            ).struct.json_encode(),
        )


def _distinct_texts(histories: Histories, row_of_item: npt.NDArray[np.int32]) -> Histories:
    """The same users with each text once, at its latest time; `items` are text rows."""
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    texts = row_of_item[histories.items]
    position = np.arange(len(texts))
    order = np.lexsort((-position, texts, users))
    last = np.sort(order[first_of_groups(users[order], texts[order])])
    return Histories.from_codes(
        users[last], texts[last], histories.times[last], n_users=len(histories)
    )


def _member(
    target: npt.NDArray[np.int64], text: npt.NDArray[np.int32], had: Histories
) -> npt.NDArray[np.bool_]:
    """Is the text among those of its target's user: [rows]."""
    width = int(max(text.max(initial=0), had.items.max(initial=0))) + 1
    users = np.repeat(np.arange(len(had)), had.lengths)
    return np.isin(target * width + text, users * width + had.items)
