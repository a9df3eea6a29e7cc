"""Search as it is served: words, cosine, tower and history together; odd input; files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import fresh

from factories import commit
from nightshift.errors import BadInput, ModelRejected
from nightshift.lake import Lake
from nightshift.recommend import loading, ranker
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.search import hybrid as search
from nightshift.recommend.search.hybrid import Plan, SearchModel, search_scores, standardised
from nightshift.recommend.search.queries import Asked, Catalogue, Tower
from nightshift.stages import STAGES
from nightshift.text.bm25 import Indexes
from shop_by_hand import NIGHT, WIDTH, histories, settings_for, unit_vectors

N = 30
TEXTS = [f"thing number{code} of colour{code % 3}" for code in range(N)]


@pytest.fixture
def model():
    return fresh(N)


@pytest.fixture
def indexes():
    return Indexes(TEXTS)


def catalogue_of(vectors):
    return Catalogue(
        torch.from_numpy(vectors), torch.from_numpy(unit_vectors(len(vectors), seed=9))
    )


def asked_for(vectors):
    return Asked(torch.from_numpy(vectors), torch.from_numpy(unit_vectors(len(vectors), seed=8)))


def scores_of(plan, words=None, wishes=None, tower=None, queries=None):
    vectors = unit_vectors(N, seed=1)
    queries = unit_vectors(2, seed=2) if queries is None else queries
    if tower is None:
        tower = Tower.untrained(WIDTH, WIDTH, WIDTH)
    found = search_scores(catalogue_of(vectors), tower, plan, asked_for(queries), words, wishes)
    return found, queries @ vectors.T


def words_of(*items):
    """BM25 of two queries: these items, the first best."""
    words = np.zeros((2, N), dtype=np.float32)
    for place, item in enumerate(items):
        words[:, item] = 7.0 - place
    return words


def test_the_weight_is_between_scaled_bm25_and_the_cosine():
    words = words_of(4, 5)
    found, cosine = scores_of(Plan(lexical=0.3), words)
    np.testing.assert_allclose(found, 0.3 * words / 7.0 + 0.7 * cosine, atol=1e-5)


def test_reciprocal_ranks_add_up_and_no_word_adds_nothing():
    found, cosine = scores_of(Plan(method="rank"), words_of(4, 5))
    dense = np.argsort(np.argsort(-cosine, axis=1), axis=1) + 1
    expected = 1 / (60 + dense)
    expected[:, 4] += 1 / 61
    expected[:, 5] += 1 / 62
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_feedback_moves_a_query_to_what_it_found_first():
    vectors = unit_vectors(N, seed=1)
    found, cosine = scores_of(Plan(lexical=0.0, feedback=0.5))
    top = np.argsort(-cosine, axis=1)[:, :10]
    moved = unit_vectors(2, seed=2) + 0.5 * vectors[top].mean(axis=1)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(found, moved @ vectors.T, atol=1e-5)


def test_what_the_tower_learnt_among_the_recommenders_items_is_added():
    places = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(1))
    tower = Tower(torch.zeros(WIDTH, WIDTH), places)
    found, cosine = scores_of(Plan(places=0.5), tower=tower)
    vectors, asked = unit_vectors(N, seed=9), unit_vectors(2, seed=8)
    np.testing.assert_allclose(
        found, cosine + 0.5 * asked @ places.numpy().T @ vectors.T, atol=1e-5
    )


def test_what_is_recommended_counts_by_its_weight_whatever_its_scale():
    wishes = np.tile(np.arange(N, dtype=np.float32), (2, 1))
    plain, _ = scores_of(Plan(), words_of(4))
    found, _ = scores_of(Plan(history=0.2), words_of(4), wishes)
    again, _ = scores_of(Plan(history=0.2), words_of(4), 100 * wishes - 7)
    expected = plain + 0.2 * plain.std(axis=1, keepdims=True) * standardised(wishes)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(again, found, atol=1e-5)
    assert np.array_equal(scores_of(Plan(history=0.2), words_of(4))[0], plain)  # nobody's search


def test_equal_recommendations_say_nothing():
    assert not standardised(np.full((2, 5), 3.0, dtype=np.float32)).any()


def test_a_search_with_a_history_finds_what_is_recommended_sooner(model, indexes):
    stored, vectors = model
    plan = Plan(history=50.0)
    rank = ModelRanker(stored, vectors, beta=0.0, search=_learnt(plan))
    texts, encoded = ["thing"], unit_vectors(1, seed=3)
    before = histories([[1, 2, 3]])
    codes, _ = rank.rank_queries(encoded, 5, texts=texts, indexes=indexes, histories=before)
    wished, _ = rank.top_k(before, 5, candidates=None, exclude_seen=False)
    assert codes.tolist() == wished.tolist()
    without, _ = rank.rank_queries(encoded, 5, texts=texts, indexes=indexes)
    assert without.tolist() != wished.tolist()


def test_words_lead_where_the_encoder_knows_nothing(model, indexes):
    stored, vectors = model
    rank = ModelRanker(stored, vectors, beta=0.0)
    encoded = unit_vectors(2, seed=5)
    codes, _ = rank.rank_queries(encoded, 3, texts=["number7", "number21"], indexes=indexes)
    assert codes[:, 0].tolist() == [7, 21]


def test_an_unknown_word_is_left_to_the_encoder(model, indexes):
    stored, vectors = model
    rank = ModelRanker(stored, vectors, beta=0.0)
    encoded = unit_vectors(2, seed=5)
    hybrid, _ = rank.rank_queries(encoded, N, texts=["zyzzyva", "qwerty"], indexes=indexes)
    dense, _ = rank.rank_queries(encoded, N)
    assert hybrid.tolist() == dense.tolist()


def test_an_empty_query_finds_nothing_and_does_not_disturb_the_others(model, indexes):
    stored, vectors = model
    rank = ModelRanker(stored, vectors, beta=0.0)
    encoded = unit_vectors(3, seed=5)
    codes, scores = rank.rank_queries(encoded, 4, texts=["", "number7", " \t"], indexes=indexes)
    assert (codes[[0, 2]] == -1).all()
    assert np.isneginf(scores[[0, 2]]).all()
    assert codes[1, 0] == 7


def test_no_query_at_all(model, indexes):
    stored, vectors = model
    rank = ModelRanker(stored, vectors, beta=0.0)
    codes, scores = rank.rank_queries(
        np.zeros((0, WIDTH), np.float32), 4, texts=[], indexes=indexes
    )
    assert codes.shape == scores.shape == (0, 4)


def test_only_candidates_are_found(model):
    stored, vectors = model
    some = np.zeros(N, dtype=np.bool_)
    some[[3, 8]] = True
    codes, _ = ModelRanker(stored, vectors, beta=0.0).rank_queries(
        unit_vectors(1, seed=5), 4, candidates=some
    )
    assert set(codes[0].tolist()) == {3, 8, -1}


def test_blocks_give_what_one_block_gives(model, indexes, monkeypatch):
    stored, vectors = model
    rank = ModelRanker(stored, vectors, beta=0.0, search=_learnt(Plan(history=0.3)))
    asked = {"texts": [f"number{n}" for n in range(7)], "indexes": indexes}
    asked["histories"] = histories([[n, n + 1] for n in range(7)])
    whole = rank.rank_queries(unit_vectors(7, seed=5), 6, **asked)
    monkeypatch.setattr(ranker, "_BLOCK_CELLS", 4 * N * 2)
    parts = rank.rank_queries(unit_vectors(7, seed=5), 6, **asked)
    assert whole[0].tolist() == parts[0].tolist()
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-6)


@pytest.mark.parametrize("feedback", [0.0, 1.0])
def test_a_catalogue_of_one_item(feedback):
    stored, vectors = fresh(1)
    rank = ModelRanker(
        stored, vectors, beta=0.0, search=_learnt(Plan(feedback=feedback, history=0.5))
    )
    codes, scores = rank.rank_queries(
        unit_vectors(1, seed=5),
        3,
        texts=["thing"],
        indexes=Indexes(["thing"]),
        histories=histories([[0]]),
    )
    assert codes.tolist() == [[0, -1, -1]]
    assert np.isfinite(scores[0, 0])


@pytest.mark.parametrize(
    ("vectors", "texts", "says"),
    [
        (np.full((2, WIDTH), np.nan, np.float32), None, "not finite, the first in row 0"),
        (np.ones((2, WIDTH + 1), np.float32), None, rf"\[n, {WIDTH}\]"),
        (np.ones(WIDTH, np.float32), None, "shape"),
        (np.ones((2, WIDTH), np.float32), ["one"], "1 query texts for 2"),
    ],
)
def test_what_is_no_query_is_refused(model, vectors, texts, says):
    stored, of_items = model
    with pytest.raises(BadInput, match=says) as caught:
        ModelRanker(stored, of_items, beta=0.0).rank_queries(vectors, 3, texts=texts)
    assert caught.value.hint


def test_an_index_over_another_catalogue_is_refused(model):
    stored, vectors = model
    with pytest.raises(BadInput, match=f"over 2 texts, the model ranks {N}"):
        ModelRanker(stored, vectors, beta=0.0).rank_queries(
            unit_vectors(1), 3, texts=["a"], indexes=Indexes(["a", "b"])
        )


def _learnt(plan):
    """A search model whose W is small and random."""
    noise = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3))
    return SearchModel(plan, 0.05 * noise)


def stored_with(tmp_path, model, found, *, plan=None, text=None):
    """The model in the lake, with its search files, or with altered ones."""
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)

    def run(ctx):
        checkpoint.save(model, ctx.writer, "real/")
        if plan is None and text is None:
            found.save(ctx.writer, "real/")
        else:
            body = {"text": found.text.numpy() if text is None else text}
            ctx.writer.write_tensors("real/" + search.TOWER, body)
            ctx.writer.write_json("real/" + search.PLAN, plan or {})
        return {}

    return lake, commit(lake, settings, NIGHT, STAGES["refresh"], run)


def test_what_was_learnt_comes_back_from_its_files(tmp_path, model, indexes):
    stored, vectors = model
    plan = Plan(
        stem="plural", lexical=0.3, tower=1.0, places=1.0, feedback=0.5, chosen={"bm25": 0.4}
    )
    lake, manifest = stored_with(tmp_path, stored, _learnt(plan))
    found = loading.load(
        lake, manifest, item_ids=stored.item_ids, vectors=vectors, beta=0.0, prefix="real/"
    )
    assert found.queries.search.plan == plan
    asked = (unit_vectors(3, seed=5), 6)
    words = {"texts": ["number1", "thing", "x"], "indexes": indexes}
    ours = ModelRanker(stored, vectors, beta=0.0, search=_learnt(plan))
    assert np.array_equal(
        found.rank_queries(*asked, **words)[1], ours.rank_queries(*asked, **words)[1]
    )


def test_a_model_without_a_search_ranks_by_words_and_cosine(tmp_path, model):
    stored, vectors = model
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)

    def run(ctx):
        checkpoint.save(stored, ctx.writer)
        return {}

    manifest = commit(lake, settings, NIGHT, STAGES["refresh"], run)
    assert SearchModel.load(lake, manifest, width=WIDTH) is None
    found = loading.load(lake, manifest, item_ids=stored.item_ids, vectors=vectors, beta=0.0)
    encoded = unit_vectors(2, seed=5)
    codes, _ = found.rank_queries(encoded, N)
    assert codes.tolist() == np.argsort(-(encoded @ vectors.T), axis=1, kind="stable").tolist()


@pytest.mark.parametrize(
    "altered",
    [
        {"plan": {"lexical": 0.5, "weight_of_the_moon": 1.0}},
        {"text": np.zeros((WIDTH + 1, WIDTH + 1), np.float32)},
        {"text": np.full((WIDTH, WIDTH), np.nan, np.float32)},
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, model, altered):
    stored, _ = model
    lake, manifest = stored_with(tmp_path, stored, _learnt(Plan()), **altered)
    with pytest.raises(ModelRejected):
        SearchModel.load(lake, manifest, width=WIDTH, prefix="real/")


def test_a_plan_is_data():
    plan = Plan(lexical=0.2, chosen={"bm25": 0.5})
    assert Plan(**json.loads(json.dumps(search.asdict(plan)))) == plan
    assert replace(plan, tower=1.0) != plan
