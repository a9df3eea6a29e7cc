"""How much what is recommended to a customer counts in what the customer finds.

Chosen on the inner night's searches, by customers with a history: neither the model nor its tower
has seen them, nor what those customers did after.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.texts import Embed
from nightshift.searches import LEAST, Queries, quality, wanted
from nightshift.snapshot import Snapshot
from nightshift.text.bm25 import Indexes

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
_MOST = 500
"""Searches judged: the choice gets no better with more, it gets slower."""
_DEPTH = 10


def personal_searches(snapshot: Snapshot, searches: pl.DataFrame) -> tuple[Queries, pl.Series]:
    """Each customer's queries with what answered them, and whose they are (user codes)."""
    lengths = pl.DataFrame({"had": snapshot.histories.lengths}).with_row_index("user")
    known = snapshot.user_codes.join(lengths.cast({"user": pl.Int64}), on="user")
    rows = (
        wanted(searches, snapshot.item_codes)
        .join(known.filter(pl.col("had") > 0), on="user_key", how="inner")
        .group_by("user", "query", "item")
        .agg(pl.col("gain").max())
        .sort("user", "query", "item")
    )
    asked = rows.group_by("user", "query", maintain_order=True).len()
    queries = Queries(
        texts=asked["query"].to_list(),
        indptr=np.concatenate([[0], np.cumsum(asked["len"].to_numpy())]).astype(np.int64),
        items=rows["item"].to_numpy().astype(np.int32),
        gains=rows["gain"].to_numpy(),
        head=np.zeros(asked.height, dtype=np.bool_),
    )
    return queries, asked["user"]


def best_history(
    ranker: ModelRanker, snapshot: Snapshot, searches: pl.DataFrame, embed: Embed
) -> float:
    """The weight with the best NDCG@10; 0 where there are too few searches to tell, or none gains
    more than the standard error of its gain.
    """
    queries, users = personal_searches(snapshot, searches)
    if len(queries) < LEAST or ranker.queries.search is None:
        return 0.0
    some = np.linspace(0, len(queries) - 1, min(_MOST, len(queries))).astype(np.int64)
    queries, whose = queries.take(some), users.to_numpy()[some]
    vectors = embed(queries.texts)
    histories = snapshot.histories.take(whose)
    indexes = Indexes(snapshot.items["text"].fill_null("").to_list())
    model, found = ranker.queries.search, {}
    for weight in WEIGHTS:
        ranker.queries.search = replace(model, plan=replace(model.plan, history=weight))
        codes, _ = ranker.rank_queries(
            vectors, _DEPTH, texts=queries.texts, indexes=indexes, histories=histories
        )
        found[weight] = quality(codes, queries)[:, 0]
    ranker.queries.search = model
    best = max(WEIGHTS, key=lambda weight: (float(found[weight].mean()), -weight))
    gain = found[best] - found[0.0]
    return best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0.0
