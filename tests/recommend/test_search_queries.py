"""The query tower, with the real encoder: it starts as the encoder, and learns from pairs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from small_models import model_settings

from nightshift.lake import Lake
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.search import queries
from nightshift.recommend.search.hybrid import Plan, SearchModel
from nightshift.recommend.search.learning import catalogue_of
from nightshift.recommend.search.queries import (
    Asked,
    Catalogue,
    Pairs,
    Tower,
    fit_tower,
    query_pairs,
)
from nightshift.snapshot import Snapshot
from nightshift.text.embeddings import embed
from shop_by_hand import (
    NIGHT,
    events,
    samples,
    search_rows,
    settings_for,
    unit_vectors,
    write_snapshot,
)

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
STEPS = 120


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    settings = settings_for(tmp_path_factory.mktemp("queries"))
    lake = Lake.of(settings)

    def encoded(texts):
        vectors, rows, _ = embed(lake, settings, texts)
        return vectors[rows].astype(np.float32)

    vectors = encoded([f"{name}, item of a shop" for name in NAMES])
    stored = checkpoint.fresh(model_settings(features=64, dim=32), vectors, NAMES, seed=0)
    asked = encoded([WANTED[name] for name in NAMES])
    return stored, vectors, asked


def learnt(room, pairs, *, seed=0, steps=STEPS):
    stored, vectors, asked = room
    catalogue = catalogue_of(stored, stored.features(vectors), vectors)
    features = torch.from_numpy(stored.whitening.apply(asked))
    return fit_tower(
        catalogue, Asked(torch.from_numpy(asked), features), pairs, steps=steps, seed=seed
    )


def places(room, tower, plan):
    """Rank of the wanted item of each query."""
    stored, vectors, asked = room
    ranker = ModelRanker(stored, vectors, beta=0.0, search=SearchModel(plan, tower.text))
    codes, _ = ranker.rank_queries(asked, len(NAMES))
    return [codes[row].tolist().index(row) for row in range(len(NAMES))]


def pairs_of(*items, weights=None):
    """The query of each item with that item."""
    rows = np.array(items, dtype=np.int64)
    given = np.ones(len(rows)) if weights is None else weights
    return Pairs(rows, rows, np.asarray(given, dtype=np.float32))


EVERY = pairs_of(*range(len(NAMES)))


def test_a_tower_that_learnt_nothing_ranks_by_the_cosine_of_the_encoder(room):
    stored, vectors, asked = room
    tower = learnt(room, EVERY, steps=0)
    ranker = ModelRanker(
        stored,
        vectors,
        beta=3.0,
        search=SearchModel(Plan(tower=1.0, places=0.0, lexical=0.0), tower.text),
    )
    codes, scores = ranker.rank_queries(asked, len(NAMES))
    cosine = asked @ vectors.T
    assert codes.tolist() == np.argsort(-cosine, axis=1, kind="stable").tolist()
    np.testing.assert_allclose(scores, -np.sort(-cosine, axis=1), atol=2e-3)  # float16 inputs


def test_the_tower_learns_which_item_a_query_wants(room):
    plan = Plan(tower=1.0)
    before = places(room, learnt(room, EVERY, steps=0), plan)
    tower = learnt(room, EVERY)
    assert sum(before) > 0
    assert sum(places(room, tower, plan)) < sum(before)
    assert tower.loss is not None


def test_with_the_share_at_zero_what_it_learnt_does_not_count(room):
    tower = learnt(room, EVERY)
    nothing = learnt(room, EVERY, steps=0)
    assert places(room, tower, Plan()) == places(room, nothing, Plan(tower=1.0))


def test_little_to_learn_from_moves_it_little(room):
    """One query cannot turn the encoder's space over: the others rank as before, or nearly."""
    tower = learnt(room, pairs_of(0, 1))
    asked = torch.from_numpy(room[2])
    moved = (tower.queries(asked) * asked).sum(dim=1)
    assert float(moved[2:].min()) > 0.7


def test_it_is_seeded_where_batches_are_drawn(room, monkeypatch):
    monkeypatch.setattr(queries, "_BATCH", 4)
    one, same, other = (learnt(room, EVERY, seed=seed, steps=5) for seed in (0, 0, 1))
    assert torch.equal(one.text, same.text)
    assert not torch.equal(one.text, other.text)


def test_a_pair_of_weight_zero_teaches_nothing(room):
    only = learnt(room, pairs_of(0, 1, 2), steps=5)
    more = learnt(room, pairs_of(0, 1, 2, 3, weights=[1, 1, 1, 0]), steps=5)
    torch.testing.assert_close(only.text, more.text)


@pytest.mark.parametrize("pairs", [pairs_of(), pairs_of(3)])
def test_too_few_pairs_teach_nothing(room, pairs):
    tower = learnt(room, pairs)
    assert tower.loss is None
    assert not tower.text.any()
    assert not tower.places.any()


def test_a_catalogue_of_one_item_has_nothing_to_tell_apart():
    item = torch.from_numpy(unit_vectors(1))
    asked = Asked(torch.from_numpy(unit_vectors(2, seed=1)), torch.zeros(2, 4))
    pairs = Pairs(np.array([0, 1]), np.array([0, 0]), np.ones(2, np.float32))
    tower = fit_tower(Catalogue(item, torch.ones(1, 3)), asked, pairs, steps=3, seed=0)
    assert tower.loss == 0.0
    assert torch.isfinite(tower.text).all()


def test_another_answer_to_the_same_query_is_no_negative_of_it(monkeypatch):
    """Items 0 and 1 answer query 0, item 2 answers query 1: who stands against whom."""
    pairs = Pairs(np.array([0, 0, 1]), np.array([0, 1, 2]), np.ones(3, np.float32))
    for whole in (True, False):
        monkeypatch.setattr(queries, "_UNIFORM", 4096 if whole else 2)
        drawn = queries._Negatives(pairs, 6).draw(np.arange(3), np.random.default_rng(0))
        codes, own, _, answers = (part.numpy() for part in drawn)
        assert codes[own].tolist() == [0, 1, 2]
        for row, query in enumerate((0, 0, 1)):
            also = np.isin(codes, {0: [0, 1], 1: [2]}[query])
            also[own[row]] = False
            assert answers[row].tolist() == also.tolist()


def test_sampled_logits_less_log_q_estimate_the_softmax_over_the_whole_catalogue(monkeypatch):
    """A popular item is drawn in most batches: uncorrected it would look like many negatives."""
    n_items, rng = 400, np.random.default_rng(3)
    # Half of all pairs are of item 0.
    items = np.where(rng.random(2000) < 0.5, 0, rng.integers(1, n_items, 2000))
    pairs = Pairs(np.arange(2000), items, np.ones(2000, np.float32))
    logits = torch.from_numpy(rng.normal(size=n_items).astype(np.float32))
    logits[0] = 3.0  # what is popular is also liked
    monkeypatch.setattr(queries, "_UNIFORM", 100)
    negatives = queries._Negatives(pairs, n_items)
    sums = {"corrected": [], "plain": []}
    for _ in range(300):
        codes, _, correction, _ = negatives.draw(rng.choice(2000, 64, replace=False), rng)
        sums["corrected"].append(torch.exp(logits[codes] - correction).sum())
        sums["plain"].append(torch.exp(logits[codes]).sum() * n_items / len(codes))
    whole = float(torch.exp(logits).sum())
    assert float(torch.stack(sums["corrected"]).mean()) == pytest.approx(whole, rel=0.03)
    assert float(torch.stack(sums["plain"]).mean()) > 1.5 * whole


def test_pairs_are_real_searches_with_an_item_and_made_queries_with_a_weight(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events({"u": ["soap"]}, NIGHT.start - timedelta(days=1))
    searches = search_rows(
        (" Clean ", "soap"), ("nothing found", None), ("odd", "no longer sold"), (" ", "soap")
    )
    manifest = write_snapshot(lake, settings, before, NAMES, searches=searches)
    query = {"kind": "query", "strategy": "llm_queries"}
    made = samples(
        query | {"item_id": "novel", "text": "A story", "weight": 0.5},
        query | {"item_id": "novel", "text": "unwanted", "weight": 0.0},
        query | {"item_id": "gone", "text": "gone"},
        {"item_id": "novel", "context_items": ["soap"]},
    )
    snapshot = Snapshot(lake, manifest)
    real = ("clean", NAMES.index("soap"), 1.0, True)
    story = ("a story", NAMES.index("novel"), 0.5, False)
    assert query_pairs(snapshot, made).rows() == [real, story]
    assert query_pairs(snapshot, samples()).rows() == [real]  # the control's


def test_a_grade_is_how_much_a_search_counts(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events({"u": ["soap"]}, NIGHT.start - timedelta(days=1))
    searches = search_rows(("a", "soap"), ("b", "soap"), ("c", "soap")).with_columns(
        grade=pl.Series([4.0, 1.0, 0.0])
    )
    manifest = write_snapshot(lake, settings, before, NAMES, searches=searches)
    found = query_pairs(Snapshot(lake, manifest), samples())
    assert found.select("text", "weight").rows() == [("a", 1.0), ("b", 0.25)]


def test_the_share_of_the_tower_is_how_far_a_query_moves():
    tower = replace(Tower.untrained(2, 2, 2), text=torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    asked = torch.tensor([[1.0, 0.0]])
    angles = [
        float(torch.atan2(found[0, 1], found[0, 0]))
        for found in (tower.queries(asked, share) for share in (0.0, 0.5, 1.0))
    ]
    assert angles == pytest.approx([0.0, np.arctan(0.5), np.pi / 4])
