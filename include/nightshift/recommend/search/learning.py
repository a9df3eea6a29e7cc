"""What a night's arm learns of search: the tower and the plan, from the snapshot and the samples.

Both are learnt anew every night from all searches before start: nothing drifts, and what was
retracted has never been learnt.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import torch
from torch.nn.functional import normalize

from nightshift.lake import Lake
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.model.features import Floats
from nightshift.recommend.search import plan as search_plan
from nightshift.recommend.search.hybrid import SearchModel
from nightshift.recommend.search.plan import Past
from nightshift.recommend.search.queries import Asked, Catalogue, Pairs, query_pairs
from nightshift.searches import read_queries
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot
from nightshift.text.bm25 import Indexes
from nightshift.text.embeddings import embed


def catalogue_of(stored: Checkpoint, features: Floats, vectors: Floats) -> Catalogue:
    """What queries are matched with.

    Args:
        features: text features of the items [items, P].
        vectors: their sentence embeddings [items, width].
    """
    with torch.inference_mode():
        places = stored.items(features)
        places = normalize(places, dim=-1)
    # Out of inference mode: training reads it.
    return Catalogue(torch.from_numpy(vectors), places.clone())


def learn_search(
    stored: Checkpoint,
    features: Floats,
    vectors: Floats,
    snapshot: Snapshot,
    samples: pl.DataFrame,
    lake: Lake,
    settings: Settings,
    *,
    seed: int,
    history: float = 0.0,
) -> tuple[SearchModel | None, float | None]:
    """The search model, and the loss of its tower; R goes into `stored.model.query`.

    None and None where there is neither a search with an item nor a generated query.

    Args:
        features: text features of the catalogue [items, P].
        vectors: its sentence embeddings [items, width].
        history: the recipe's weight of what is recommended to who asks.
    """
    past = past_of(stored, snapshot, samples, lake, settings)
    if past is None:
        return None, None
    plan, tower = search_plan.fit(
        catalogue_of(stored, features, vectors),
        Indexes(snapshot.items["text"].fill_null("").to_list()),
        past,
        steps=settings.finetune.query_steps,
        seed=seed,
    )
    with torch.no_grad():
        stored.model.query.weight.copy_(tower.places)
    return SearchModel(replace(plan, history=history), tower.text), tower.loss


def past_of(
    stored: Checkpoint, snapshot: Snapshot, samples: pl.DataFrame, lake: Lake, settings: Settings
) -> Past | None:
    """Searches before start and generated queries, encoded; None without any."""
    pairs = query_pairs(snapshot, samples)
    if pairs.is_empty():
        return None
    # Sorted and distinct: the rows that `embed` gives.
    texts = sorted(set(pairs["text"].to_list()))
    vectors, rows, _ = embed(lake, settings, texts)
    found = vectors[rows].astype(np.float32)
    queries = read_queries(snapshot, snapshot.searches)
    place = pl.Series(texts)
    return Past(
        Asked(torch.from_numpy(found), torch.from_numpy(stored.whitening.apply(found))),
        texts,
        Pairs(
            place.search_sorted(pairs["text"]).to_numpy().astype(np.int64),
            pairs["item"].to_numpy().astype(np.int64),
            pairs["weight"].cast(pl.Float32).to_numpy(),
        ),
        queries,
        place.search_sorted(pl.Series(queries.texts, dtype=pl.String)).to_numpy().astype(np.int64),
    )
