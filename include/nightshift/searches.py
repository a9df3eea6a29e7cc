"""Queries with their relevant items, and how good a ranking of them is.

Shared by what chooses a search's weights (on queries before start) and what judges it (on those
of the morning after).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.ranking import Codes, select_top_k
from nightshift.snapshot import Snapshot

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Score = Callable[[Rows], Floats]
"""Rows of queries → their scores [rows, items]."""

DEPTH = 50
METRICS = ("search_ndcg@10", "search_recall@50", "search_mrr")
LEAST = 20
"""With fewer queries before start nothing is chosen on them."""
_HEAD_SEARCHES = 5  # a query searched at least this often before start is a head query
_BLOCK_CELLS = 4_000_000  # queries x items scored at once: 16 MB of float32, several held


@dataclass(frozen=True, slots=True)
class Queries:
    """Distinct queries with their relevant items, gains beside them (1 where there is no grade)."""

    texts: list[str]
    indptr: npt.NDArray[np.int64]  # [queries + 1]
    items: npt.NDArray[np.int32]  # ascending within a query
    gains: npt.NDArray[np.float64]
    head: npt.NDArray[np.bool_]  # [queries]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, chosen: Rows) -> Queries:
        """These queries, in this order."""
        counts = np.diff(self.indptr)[chosen]
        ends = np.cumsum(counts)
        offsets = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
        rows = np.repeat(self.indptr[chosen], counts) + offsets
        return Queries(
            texts=[self.texts[q] for q in chosen],
            indptr=np.concatenate([[0], ends]).astype(np.int64),
            items=self.items[rows],
            gains=self.gains[rows],
            head=self.head[chosen],
        )

    def spread(self, most: int) -> Queries:
        """At most so many of them, evenly spread, so that choosing stays short."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, most).astype(np.int64))


def cleaned(column: str = "query") -> pl.Expr:
    """A query as it counts: without case and outer space."""
    return pl.col(column).str.strip_chars().str.to_lowercase()


def wanted(searches: pl.DataFrame, item_codes: pl.DataFrame) -> pl.DataFrame:
    """(query, item, gain) of searches with a relevant item of the catalogue: one row each."""
    return (
        searches.filter(pl.col("item_id").is_not_null(), pl.col("grade").fill_null(1) > 0)
        .with_columns(query=cleaned(), gain=pl.col("grade").fill_null(1))
        .filter(pl.col("query").str.len_chars() > 0)
        .join(item_codes, on="item_id", how="inner", maintain_order="left")
    )


def read_queries(snapshot: Snapshot, searches: pl.DataFrame) -> Queries:
    """Queries that have a relevant item of the catalogue, sorted; case and outer space dropped."""
    before = snapshot.searches.select(query=cleaned()).group_by("query").len("before")
    pairs = (
        wanted(searches, snapshot.item_codes)
        .group_by("query", "item")
        .agg(pl.col("gain").max())
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
        head=(queries["before"].fill_null(0) >= _HEAD_SEARCHES).to_numpy(),
    )


def rank_by(score: Score, rows: Rows, n_items: int, depth: int = DEPTH) -> Codes:
    """The best items of each query, in blocks: [rows, depth], -1 where there are fewer."""
    block = int(np.clip(_BLOCK_CELLS // max(n_items, 1), 1, 256))
    out = np.full((len(rows), depth), -1, dtype=np.int32)
    for start in range(0, len(rows), block):
        codes, _ = select_top_k(score(rows[start : start + block]), depth)
        out[start : start + len(codes)] = codes
    return out


def quality(ranked: Codes, queries: Queries) -> npt.NDArray[np.float64]:
    """NDCG@10 (graded), Recall@50, MRR@50 of each query: [queries, 3]."""
    hit = metrics.hits(ranked, queries.indptr, queries.items)
    n_items = int(max(queries.items.max(), ranked.max())) + 1
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.indptr))
    keys = owner * n_items + queries.items  # sorted: queries, then items
    asked = np.arange(len(queries))[:, None] * n_items + ranked[:, :10]
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
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
