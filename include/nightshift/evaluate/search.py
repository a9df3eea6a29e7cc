"""Search: the night's queries against the whole catalogue, where the shop has searches.

Judged are queries of the morning after with an item clicked, bought or graded. The baselines are
BM25, the sentence encoder, and their fusion, whose weight is chosen on queries before start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.evaluate.arms import Arm
from nightshift.evaluate.judge import BLOCK_CELLS
from nightshift.ranking import Codes, select_top_k
from nightshift.snapshot import Snapshot

Floats = npt.NDArray[np.float32]
Score = Callable[[list[str]], Floats]  # queries -> [queries, items]

DEPTH = 50
METRICS = ("search_ndcg@10", "search_recall@50", "search_mrr")
HEAD_SEARCHES = 5  # a query searched at least this often before start is a head query
TUNING_QUERIES = 500
_LEAST_TUNING = 20  # with fewer queries before start the weight stays in the middle
_WEIGHTS = np.round(np.arange(0, 1.01, 0.1), 1)
BM25, ENCODER, FUSION = "bm25", "encoder", "fusion"


@dataclass(frozen=True, slots=True)
class Queries:
    """Distinct queries with their relevant items, gains beside them (1 where there is no grade)."""

    texts: list[str]
    indptr: npt.NDArray[np.int64]  # [queries + 1]
    items: npt.NDArray[np.int32]
    gains: npt.NDArray[np.float64]
    head: npt.NDArray[np.bool_]  # [queries]

    def __len__(self) -> int:
        return len(self.texts)


def read_queries(snapshot: Snapshot, searches: pl.DataFrame) -> Queries:
    """Queries that have a relevant item of the catalogue, sorted; case and outer space dropped."""
    before = snapshot.searches.select(query=_clean()).group_by("query").len("before")
    pairs = (
        searches.filter(pl.col("item_id").is_not_null(), pl.col("grade").fill_null(1) > 0)
        .with_columns(query=_clean())
        .join(snapshot.item_codes, on="item_id", how="inner")
        .filter(pl.col("query").str.len_chars() > 0)
        .group_by("query", "item")
        .agg(gain=pl.col("grade").fill_null(1).max())
        .sort("query", "item")
    )
    queries = (
        pairs.group_by("query", maintain_order=True)
        .len()
        .join(before, on="query", how="left", maintain_order="left")
    )
    return Queries(
        texts=queries["query"].to_list(),
        indptr=np.concatenate([[0], np.cumsum(queries["len"].to_numpy())]).astype(np.int64),
        items=pairs["item"].to_numpy().astype(np.int32),
        gains=pairs["gain"].to_numpy(),
        head=(queries["before"].fill_null(0) >= HEAD_SEARCHES).to_numpy(),
    )


def _clean() -> pl.Expr:
    return pl.col("query").str.strip_chars().str.to_lowercase()


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
        self._encode = encode
        self._encoded: Floats | None = None
        self.queries = read_queries(snapshot, searches)
        self.frames: list[pl.DataFrame] = []
        self.models = 0
        self.weight: float | None = None
        if not len(self.queries):
            return
        lexical = bm25(snapshot.items["text"].fill_null("").to_list())

        def cosine(texts: list[str]) -> Floats:
            return encode(texts) @ vectors.T

        past = _sample(read_queries(snapshot, snapshot.searches))
        self.weight = tuned_weight(lexical, cosine, past)
        for name, score in (
            (BM25, lexical),
            (ENCODER, cosine),
            (FUSION, fused(lexical, cosine, self.weight)),
        ):
            self._add(name, None, rank_by(score, self.queries.texts, len(vectors)))

    def add(self, arm: Arm) -> None:
        """Judge a model that can rank for a query; any other is left out."""
        rank_queries = getattr(arm.ranker, "rank_queries", None)
        if rank_queries is None or not len(self.queries):
            return
        if self._encoded is None:
            self._encoded = self._encode(self.queries.texts)
        codes, _ = rank_queries(self._encoded, DEPTH)
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


def bm25(texts: list[str]) -> Score:
    """BM25 (Robertson & Zaragoza, 2009) over the catalogue's texts."""
    import bm25s

    index = bm25s.BM25()
    index.index(_tokens(texts), show_progress=False)
    known = index.vocab_dict

    def score(queries: list[str]) -> Floats:
        rows = []
        for words in _tokens(queries):
            found = [word for word in words if word in known]
            rows.append(
                index.get_scores(found) if found else np.zeros(len(texts), dtype=np.float32)
            )
        return np.stack(rows).astype(np.float32)

    return score


def _tokens(texts: list[str]) -> list[list[str]]:
    import bm25s

    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords=None, return_ids=False, show_progress=False
    )
    return tokens


def fused(lexical: Score, dense: Score, weight: float) -> Score:
    """`weight` of BM25 (scaled to [0, 1] per query) and the rest of the cosine."""

    def score(queries: list[str]) -> Floats:
        words = lexical(queries)
        top = words.max(axis=1, keepdims=True)
        words = np.divide(words, top, out=np.zeros_like(words), where=top > 0)
        mixed: Floats = np.float32(weight) * words + np.float32(1 - weight) * dense(queries)
        return mixed

    return score


def tuned_weight(lexical: Score, dense: Score, past: Queries) -> float:
    """The weight with the best NDCG@10 on queries before start; 0.5 when there are too few."""
    if len(past) < _LEAST_TUNING:
        return 0.5
    n_items = dense(past.texts[:1]).shape[1]

    def ndcg(weight: float) -> float:
        score = fused(lexical, dense, weight)
        ranked = rank_by(score, past.texts, n_items)
        return float(quality(ranked, past)[:, 0].mean())

    return float(max(_WEIGHTS, key=ndcg))


def rank_by(score: Score, texts: list[str], n_items: int) -> Codes:
    """The best `DEPTH` items of each query, in blocks: [queries, DEPTH]."""
    block = int(np.clip(BLOCK_CELLS // max(n_items, 1), 1, 256))
    out = np.full((len(texts), DEPTH), -1, dtype=np.int32)
    for start in range(0, len(texts), block):
        codes, _ = select_top_k(score(texts[start : start + block]), DEPTH)
        out[start : start + len(codes), : codes.shape[1]] = codes
    return out


def quality(ranked: Codes, queries: Queries) -> npt.NDArray[np.float64]:
    """NDCG@10 (graded), Recall@50, MRR@50 of each query: [queries, 3]."""
    hit = metrics.hits(ranked, queries.indptr, queries.items)
    n_items = int(max(queries.items.max(), ranked.max())) + 1
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.indptr))
    keys = owner * n_items + queries.items  # sorted: queries, then items
    wanted = np.arange(len(queries))[:, None] * n_items + ranked[:, :10]
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    gains = np.where(hit[:, :10], queries.gains[place], 0.0)
    order = np.lexsort((-queries.gains, owner))
    position = np.arange(len(owner)) - queries.indptr[owner]
    ideal = np.zeros((len(queries), 10))
    first = position < 10
    ideal[owner[first], position[first]] = queries.gains[order][first]
    relevant = np.diff(queries.indptr)
    return np.stack(
        [
            metrics.graded_ndcg(gains, ideal),
            metrics.recall(hit, relevant),
            metrics.reciprocal_rank(hit),
        ],
        axis=1,
    )


def _sample(queries: Queries) -> Queries:
    """An even share of the queries, so that tuning stays short."""
    if len(queries) <= TUNING_QUERIES:
        return queries
    chosen = np.linspace(0, len(queries) - 1, TUNING_QUERIES).astype(np.int64)
    counts = np.diff(queries.indptr)[chosen]
    rows = np.concatenate([np.arange(*queries.indptr[q : q + 2]) for q in chosen])
    return Queries(
        texts=[queries.texts[q] for q in chosen],
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=queries.items[rows],
        gains=queries.gains[rows],
        head=queries.head[chosen],
    )
