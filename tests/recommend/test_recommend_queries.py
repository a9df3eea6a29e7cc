"""The query projection, with the real encoder: pairs in, a better ranking of items out."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from small_models import model_settings

from nightshift.lake import Lake
from nightshift.recommend import checkpoint
from nightshift.recommend.queries import fit_queries, query_pairs
from nightshift.recommend.ranker import ModelRanker
from nightshift.snapshot import Snapshot
from nightshift.text.embeddings import embed
from shop_by_hand import NIGHT, events, samples, search_rows, settings_for, write_snapshot

# Queries whose words are not the items' own: the encoder alone does not find them all.
WANTED = {
    "bulb": "something against the dark",
    "flour": "what a baker needs first",
    "hammer": "for driving nails",
    "kettle": "boil it for tea",
    "mattress": "a good night",
    "novel": "a long story to read",
    "parasol": "shade on the terrace",
    "soap": "clean hands",
}
NAMES = sorted(WANTED)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    settings = settings_for(tmp_path_factory.mktemp("queries"), finetune={"query_steps": 40})
    lake = Lake.of(settings)
    vectors, rows, _ = embed(lake, settings, [f"{name}, item of a shop" for name in NAMES])
    return settings, lake, vectors[rows].astype(np.float32)


@pytest.fixture
def model(room):
    _, _, vectors = room
    return checkpoint.fresh(model_settings(features=64, dim=32), vectors, NAMES, seed=0)


def asked(*rows):
    return pl.DataFrame(
        [(text, NAMES.index(name), weight) for text, name, weight in rows],
        schema={"text": pl.String, "item": pl.Int32, "weight": pl.Float64},
        orient="row",
    )


EVERY = asked(*((text, name, 1.0) for name, text in WANTED.items()))


def fit(room, stored, pairs, seed=0):
    settings, lake, vectors = room
    return fit_queries(stored, stored.features(vectors), pairs, lake, settings, seed=seed)


def places(room, stored, texts):
    """Rank of the wanted item of each query."""
    settings, lake, vectors = room
    found, rows, _ = embed(lake, settings, texts)
    ranker = ModelRanker(stored, vectors, beta=0.0)
    codes, _ = ranker.rank_queries(found[rows].astype(np.float32), len(NAMES))
    return [codes[row].tolist().index(code) for row, code in enumerate(range(len(NAMES)))]


def test_the_projection_learns_which_item_a_query_wants(room, model):
    texts = list(WANTED.values())
    before = places(room, model, texts)
    loss = fit(room, model, EVERY)
    after = places(room, model, texts)
    assert after == [0] * len(NAMES)
    assert sum(before) > 0
    assert loss is not None
    assert loss < 0.5


def test_only_the_projection_moves(room, model):
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    fit(room, model, EVERY)
    moved = [
        n for n, value in model.model.state_dict().items() if not torch.equal(value, before[n])
    ]
    assert moved == ["query.weight"]
    assert not model.deltas.any()


def test_it_is_seeded(room):
    _, _, vectors = room
    found = []
    for seed in (0, 0, 1):
        stored = checkpoint.fresh(model_settings(features=64, dim=32), vectors, NAMES, seed=0)
        fit(room, stored, EVERY, seed)
        found.append(stored.model.query.weight)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_two_queries_of_one_item_are_no_negatives_of_each_other(room, model):
    """With one item only there is nothing to tell it from: no loss, nothing broken."""
    pairs = asked(("boil it for tea", "kettle", 1.0), ("hot water", "kettle", 1.0))
    assert fit(room, model, pairs) == 0.0
    assert torch.isfinite(model.model.query.weight).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_pairs_train_nothing(room, model, rows):
    before = model.model.query.weight.clone()
    assert fit(room, model, EVERY.head(rows)) is None
    assert torch.equal(model.model.query.weight, before)


def test_pairs_are_real_searches_with_an_item_and_made_queries_with_a_weight(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events({"u": ["soap"]}, NIGHT.start - timedelta(days=1))
    searches = search_rows(("clean", "soap"), ("nothing found", None), ("odd", "no longer sold"))
    manifest = write_snapshot(lake, settings, before, NAMES, searches=searches)
    query = {"kind": "query", "strategy": "llm_queries"}
    made = samples(
        query | {"item_id": "novel", "text": "a story", "weight": 0.5},
        query | {"item_id": "novel", "text": "unwanted", "weight": 0.0},
        query | {"item_id": "gone", "text": "gone"},
        {"item_id": "novel", "context_items": ["soap"]},
    )
    snapshot = Snapshot(lake, manifest)
    real = ("clean", NAMES.index("soap"), 1.0)
    assert query_pairs(snapshot, made).rows() == [real, ("a story", NAMES.index("novel"), 0.5)]
    assert query_pairs(snapshot, samples()).rows() == [real]  # the control's
