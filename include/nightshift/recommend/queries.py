"""The query projection: a query's text features into item space, by in-batch softmax.

Item vectors stay as they are; only the projection learns. Real searches with an item train it in
every arm, generated queries in the challenger's.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from nightshift.lake import Lake
from nightshift.recommend.checkpoint import Checkpoint
from nightshift.recommend.features import Floats
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot
from nightshift.text.embeddings import embed

_BATCH = 256
_RATE = 3e-3
_TEMPERATURE = 0.05


def query_pairs(snapshot: Snapshot, samples: pl.DataFrame) -> pl.DataFrame:
    """(text, item code, weight) of real searches with an item, and of generated queries."""
    real = (
        snapshot.searches.filter(pl.col("item_id").is_not_null())
        .join(snapshot.item_codes, on="item_id", how="inner", maintain_order="left")
        .select(text="query", item="item", weight=pl.lit(1.0))
    )
    made = (
        samples.filter((pl.col("kind") == "query") & (pl.col("weight") > 0))
        .join(snapshot.item_codes, on="item_id", how="inner", maintain_order="left")
        .select("text", "item", "weight")
    )
    return pl.concat([real, made])


def fit_queries(
    stored: Checkpoint,
    features: Floats,
    pairs: pl.DataFrame,
    lake: Lake,
    settings: Settings,
    *,
    seed: int,
) -> float | None:
    """Train `stored.model.query` in place; the last batch's loss, None without pairs.

    Args:
        features: text features of the catalogue [items, P].
        pairs: see `query_pairs`.
    """
    steps = settings.finetune.query_steps
    if pairs.height < 2 or not steps:
        return None
    vectors, rows, _ = embed(lake, settings, pairs["text"].to_list())
    queries = torch.from_numpy(stored.whitening.apply(vectors.astype(np.float32))[rows])
    codes = torch.from_numpy(pairs["item"].to_numpy().astype(np.int64))
    weights = torch.from_numpy(pairs["weight"].cast(pl.Float32).to_numpy(writable=True))
    with torch.no_grad():
        items = stored.model.items(torch.from_numpy(features)[codes], stored.deltas[codes])
        items = torch.nn.functional.normalize(items, dim=-1)
    optimiser = torch.optim.AdamW(stored.model.query.parameters(), lr=_RATE, weight_decay=0.01)
    rng = np.random.default_rng([seed, 5])
    loss = torch.zeros(())
    for _ in range(steps):
        picked = torch.from_numpy(rng.choice(len(codes), min(_BATCH, len(codes)), replace=False))
        projected = torch.nn.functional.normalize(stored.model.queries(queries[picked]), dim=-1)
        logits = projected @ items[picked].T / _TEMPERATURE
        # Another query of the same item is no negative of it.
        same = codes[picked][:, None] == codes[picked][None, :]
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, float("-inf"))
        each = torch.nn.functional.cross_entropy(
            logits, torch.arange(len(picked)), reduction="none"
        )
        loss = (each * weights[picked]).sum() / weights[picked].sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return round(float(loss.detach()), 5)
