"""Search: the night's queries against the whole catalogue, where the shop has searches.

Judged are queries of the morning after with an item clicked, bought or graded. The baselines are
BM25, the sentence encoder, and their fusion; how BM25 cuts words and the fusion's weight are
chosen on queries before start, as the models' own plans are. Models search as they are served: by
BM25, cosine and what they have learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.evaluate.arms import Arm
from nightshift.ranking import Codes
from nightshift.searches import (
    DEPTH,
    LEAST,
    METRICS,
    Queries,
    Rows,
    Score,
    quality,
    rank_by,
    read_queries,
)
from nightshift.snapshot import Snapshot
from nightshift.text.bm25 import PLAIN, STEMS, Indexes, scaled

Floats = npt.NDArray[np.float32]

TUNING_QUERIES = 500
_WEIGHTS = np.round(np.arange(0, 1.01, 0.1), 1)
BM25, ENCODER, FUSION = "bm25", "encoder", "fusion"


class Search:
    """The search side of one evaluation: the baselines at once, models as they come."""

    def __init__(
        self,
        snapshot: Snapshot,
        searches: pl.DataFrame,
        vectors: Floats,
        encode: Callable[[list[str]], Floats],
    ) -> None:
        """`encode` gives unit vectors in the space of `vectors`."""
        self.queries = read_queries(snapshot, searches)
        self.frames: list[pl.DataFrame] = []
        self.models = 0
        if not len(self.queries):
            return
        self._indexes = Indexes(snapshot.items["text"].fill_null("").to_list())
        self._encoded = encode(self.queries.texts)
        past = read_queries(snapshot, snapshot.searches).spread(TUNING_QUERIES)
        self.stem, self.weight = tuned(self._indexes, vectors, past, encode)
        asked = (self._indexes, self.stem, vectors, self.queries.texts, self._encoded)
        for name, weight in ((BM25, 1.0), (ENCODER, 0.0), (FUSION, self.weight)):
            every = np.arange(len(self.queries))
            self._add(name, None, rank_by(fused(*asked, weight), every, len(vectors)))

    def add(self, arm: Arm) -> None:
        """Judge a model that can rank for a query; any other is left out."""
        rank_queries = getattr(arm.ranker, "rank_queries", None)
        if rank_queries is None or not len(self.queries):
            return
        codes, _ = rank_queries(
            self._encoded, DEPTH, texts=self.queries.texts, indexes=self._indexes
        )
        self.models += 1
        self._add(arm.name, arm.seed, np.asarray(codes, dtype=np.int32))

    def _add(self, name: str, seed: int | None, ranked: Codes) -> None:
        values = quality(ranked, self.queries)
        slices = {
            "overall": np.ones(len(self.queries), dtype=np.bool_),
            "head_queries": self.queries.head,
            "tail_queries": ~self.queries.head,
        }
        texts = pl.Series(self.queries.texts, dtype=pl.String)
        for slice_, mask in slices.items():
            self.frames += [
                pl.DataFrame({"user_key": texts.filter(pl.Series(mask)), "value": column[mask]})
                .with_columns(
                    arm=pl.lit(name),
                    seed=pl.lit(seed, dtype=pl.Int64),
                    slice=pl.lit(slice_),
                    metric=pl.lit(metric),
                )
                .select("arm", "seed", "user_key", "slice", "metric", "value")
                for metric, column in zip(METRICS, values.T, strict=True)
            ]

    @property
    def status(self) -> str:
        """What was judged, in words."""
        if not len(self.queries):
            return "not judged: the night has no searches with an item"
        if not self.models:
            return f"{len(self.queries)} queries; the models take none, only baselines judged"
        return f"{len(self.queries)} queries"


def fused(
    indexes: Indexes,
    stem: str,
    vectors: Floats,
    texts: Sequence[str],
    encoded: Floats,
    weight: float,
) -> Score:
    """`weight` of BM25 (scaled to [0, 1] per query) and the rest of the cosine."""

    def score(rows: Rows) -> Floats:
        dense: Floats = encoded[rows] @ vectors.T
        if not weight:
            return dense
        words = scaled(indexes[stem].scores([texts[row] for row in rows]))
        mixed: Floats = np.float32(weight) * words + np.float32(1 - weight) * dense
        return mixed

    return score


def tuned(
    indexes: Indexes, vectors: Floats, past: Queries, encode: Callable[[list[str]], Floats]
) -> tuple[str, float]:
    """How BM25 cuts words, and its weight: the best NDCG@10 on queries before start.

    Whole words and 0.5 when there are too few.
    """
    if len(past) < LEAST:
        return PLAIN, 0.5
    encoded, every = encode(past.texts), np.arange(len(past))

    def ndcg(stem: str, weight: float) -> float:
        score = fused(indexes, stem, vectors, past.texts, encoded, weight)
        return float(quality(rank_by(score, every, len(vectors)), past)[:, 0].mean())

    stem = max(STEMS, key=lambda name: ndcg(name, 1.0))
    return stem, float(max(_WEIGHTS, key=lambda weight: ndcg(stem, float(weight))))
