"""Choosing a plan on past queries: what helps is taken, what does not is left, nothing peeks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from small_models import fresh

from nightshift.lake import Lake
from nightshift.recommend.search import plan as search_plan
from nightshift.recommend.search.learning import learn_search, past_of
from nightshift.recommend.search.plan import Past
from nightshift.recommend.search.queries import Asked, Catalogue, Pairs
from nightshift.searches import Queries
from nightshift.snapshot import Snapshot
from nightshift.text.bm25 import Indexes
from shop_by_hand import NIGHT, events, samples, search_rows, settings_for, unit_vectors
from shop_by_hand import write_snapshot as snapshot_of

N, WIDE = 60, 24
LATER = 40


def shop(*, words: bool, dense: bool, seed: int = 0):
    """Query n wants item n: by its words, by its embedding, by both or by neither."""
    rng = np.random.default_rng(seed)
    items = unit_vectors(N, seed=seed, width=WIDE)
    noise = unit_vectors(LATER, seed=seed + 1, width=WIDE)
    near = items[:LATER] + 0.3 * noise if dense else noise
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    texts = [f"name{rng.integers(1 << 30) if not words else code}" for code in range(LATER)]
    rows = np.arange(LATER)
    queries = Queries(
        texts,
        np.arange(LATER + 1),
        rows.astype(np.int32),
        np.ones(LATER),
        np.zeros(LATER, dtype=np.bool_),
    )
    asked = Asked(torch.from_numpy(near), torch.zeros(LATER, 4))
    past = Past(asked, texts, Pairs(rows, rows, np.ones(LATER, np.float32)), queries, rows)
    catalogue = Catalogue(torch.from_numpy(items), torch.ones(N, 3))
    return catalogue, Indexes([f"the name{code}" for code in range(N)]), past


def test_bm25_has_the_weight_where_words_are_all_there_is():
    plan, _ = search_plan.fit(*shop(words=True, dense=False), steps=3, seed=0)
    assert plan.lexical > 0.3
    assert plan.queries == LATER
    assert plan.chosen["bm25"] == pytest.approx(1.0)


def test_bm25_has_none_where_no_word_fits():
    plan, _ = search_plan.fit(*shop(words=False, dense=True), steps=0, seed=0)
    assert plan.lexical == 0.0
    assert plan.chosen["bm25"] < 0.2
    assert plan.chosen["minilm"] > 0.8


def test_a_tower_that_learnt_noise_is_left_out():
    """What one query wants says nothing of another here: no held-out query gains."""
    catalogue, indexes, past = shop(words=True, dense=True)
    plan, tower = search_plan.fit(catalogue, indexes, past, steps=40, seed=0)
    assert tower.text.any()
    assert plan.tower == plan.places == 0.0


def test_a_tower_that_learnt_what_all_queries_share_is_taken():
    """All queries lean the same way, which says nothing of items: learnt from some, all gain."""
    catalogue, indexes, past = shop(words=False, dense=True)
    lean = unit_vectors(1, seed=77, width=WIDE)
    leaning = past.asked.vectors + torch.from_numpy(1.5 * lean)
    asked = Asked(torch.nn.functional.normalize(leaning, dim=-1), past.asked.features)
    past = replace(past, asked=asked)
    plan, _ = search_plan.fit(catalogue, indexes, past, steps=200, seed=0)
    assert plan.tower == 1.0
    assert plan.chosen["hybrid"] > plan.chosen["fusion"] + 0.05


def test_with_few_queries_nothing_is_chosen():
    catalogue, indexes, past = shop(words=True, dense=True)
    few = np.arange(search_plan.LEAST - 1)
    part = Past(past.asked, past.texts, past.pairs, past.queries.take(few), few)
    plan, _ = search_plan.fit(catalogue, indexes, part, steps=2, seed=0)
    assert plan == search_plan.Plan()


def test_no_tower_learns_from_the_queries_it_is_judged_on(monkeypatch):
    catalogue, indexes, past = shop(words=True, dense=True)
    learnt = []
    fit_tower = search_plan.fit_tower

    def watched(catalogue, asked, pairs, **of):
        learnt.append(set(pairs.query.tolist()))
        return fit_tower(catalogue, asked, pairs, **of)

    monkeypatch.setattr(search_plan, "fit_tower", watched)
    search_plan.fit(catalogue, indexes, past, steps=1, seed=0)
    whole, *folds = learnt
    everything = set(range(LATER))
    assert whole == everything
    assert len(folds) == search_plan.FOLDS
    held = [everything - one for one in folds]
    assert sorted(row for one in held for row in one) == list(range(LATER))  # each once
    for number, rows in enumerate(held):
        assert set(search_plan._fold_of([past.texts[r] for r in rows]).tolist()) <= {number}


# --- of a snapshot -----------------------------------------------------------------------------


@pytest.fixture
def room(tmp_path):
    settings = settings_for(tmp_path, finetune={"query_steps": 2})
    return settings, Lake.of(settings)


def snapshot_with(room, searches):
    settings, lake = room
    names = [f"i{code:03}" for code in range(6)]
    before = events({"u": ["i000", "i001"]}, NIGHT.start - timedelta(days=1))
    return Snapshot(lake, snapshot_of(lake, settings, before, names, searches=searches))


def model_for(room):
    from small_models import model_settings

    from nightshift.recommend.model import checkpoint
    from nightshift.text.embeddings import embed

    settings, lake = room
    vectors, rows, _ = embed(lake, settings, [f"thing i{code:03}" for code in range(6)])
    found = vectors[rows].astype(np.float32)
    names = [f"i{code:03}" for code in range(6)]
    return checkpoint.fresh(model_settings(), found, names, seed=0), found


def test_a_shop_without_searches_learns_nothing(room):
    settings, lake = room
    stored, vectors = fresh(6)
    snapshot = snapshot_with(room, None)
    before = stored.model.query.weight.clone()
    found = learn_search(
        stored, stored.features(vectors), vectors, snapshot, samples(), lake, settings, seed=0
    )
    assert found == (None, None)
    assert torch.equal(stored.model.query.weight, before)


def test_generated_queries_teach_and_are_never_what_is_chosen_on(room):
    settings, lake = room
    snapshot = snapshot_with(room, search_rows(("lamp", "i001"), ("Rope", "i002")))
    query = {"kind": "query", "strategy": "llm_queries", "item_id": "i003"}
    made = samples(*(query | {"text": f"made {n}"} for n in range(30)), query | {"text": "lamp"})
    stored, vectors = model_for(room)
    past = past_of(stored, snapshot, made, lake, settings)
    assert past.queries.texts == ["lamp", "rope"]
    assert [past.texts[row] for row in past.rows] == ["lamp", "rope"]
    assert len(past.pairs) == 33
    wanted = {
        (past.texts[q], int(i)) for q, i in zip(past.pairs.query, past.pairs.item, strict=True)
    }
    assert {("lamp", 1), ("lamp", 3), ("rope", 2), ("made 7", 3)} <= wanted
    search, loss = learn_search(
        stored, stored.features(vectors), vectors, snapshot, made, lake, settings, seed=0
    )
    assert search.plan.queries == 0  # 30 made ones are no validation
    assert loss is not None
    assert stored.model.query.weight.abs().max() < 0.1  # R starts at zero, not where it was


def test_the_recipes_history_weight_is_in_the_plan(room):
    settings, lake = room
    snapshot = snapshot_with(room, search_rows(("lamp", "i001"), ("rope", "i002")))
    stored, vectors = model_for(room)
    search, _ = learn_search(
        stored,
        stored.features(vectors),
        vectors,
        snapshot,
        samples(),
        lake,
        settings,
        seed=0,
        history=0.1,
    )
    assert search.plan.history == 0.1


def test_searches_are_of_polars_order_as_of_pythons(room):
    """Rows are found by search in a sorted list: letters beyond ASCII must sort alike in both."""
    settings, lake = room
    asked = ["Äpfel", "zebra", "émail", "apfel", "😀 lamp", "ﬁne", "z", "Z2"]
    snapshot = snapshot_with(room, search_rows(*((text, "i001") for text in asked)))
    stored, _ = model_for(room)
    past = past_of(stored, snapshot, samples(), lake, settings)
    assert [past.texts[row] for row in past.rows] == past.queries.texts
    assert sorted(past.texts) == sorted(pl.Series(asked).str.to_lowercase().to_list())
