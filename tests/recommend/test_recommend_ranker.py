"""Ranking with a stored model against naive sums: text blend, masks, blocks, queries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import fresh, with_deltas

from factories import commit
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.recommend import loading, ranker
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.signals import left_aligned
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking import user_side
from nightshift.recommend.ranking.counted import own_items
from nightshift.recommend.search.hybrid import Plan, SearchModel
from nightshift.stages import STAGES
from shop_by_hand import NIGHT, histories, settings_for, unit_vectors

ITEMS = 40
USERS = [[3, 9, 1], [], [5], [int(i) for i in np.random.default_rng(0).integers(0, ITEMS, 25)]]


@pytest.fixture(scope="module")
def model():
    stored, vectors = fresh(ITEMS, layers=2)
    return with_deltas(stored, scale=0.3), vectors


def naive_scores(stored, vectors, items, beta):
    """One user, one item at a time."""
    features = torch.from_numpy(stored.features(vectors))
    with torch.inference_mode():
        table = stored.model.items(features, stored.deltas)
        recent = items[-stored.model.settings.max_length :]
        states = stored.model.users(table[recent][None], torch.tensor([len(recent)]))
        scores = (table @ states[0, len(recent)]).numpy().astype(np.float64)
    profile = sum(0.7**age * features[i].numpy() for age, i in enumerate(items[::-1][:10]))
    if items:
        scores += beta * (features.numpy() @ (profile / np.linalg.norm(profile)))
    return scores


@pytest.mark.parametrize("beta", [0.0, 4.0])
def test_scores_are_the_models_plus_beta_times_text_similarity(model, beta):
    found = ModelRanker(*model, beta=beta).scores(histories(USERS))
    assert found.shape == (len(USERS), ITEMS)
    for row, items in zip(found, USERS, strict=True):
        np.testing.assert_allclose(row, naive_scores(*model, items, beta), rtol=1e-3, atol=1e-4)


def test_a_user_without_history_gets_a_finite_ranking_whatever_beta(model):
    empty = histories([[], []])
    for beta in (0.0, 30.0):
        rank = ModelRanker(*model, beta=beta)
        codes, scores = rank.top_k(empty, 5, candidates=None, exclude_seen=True)
        assert np.isfinite(scores).all()
        assert sorted(set(codes[0])) == sorted(codes[0].tolist())
        assert codes[0].tolist() == codes[1].tolist()
    np.testing.assert_array_equal(rank.text_profiles(empty), 0)


def test_own_items_count_by_how_often_and_how_lately():
    day = 24 * 3600 * 1_000_000
    times = np.array([0, 60, 120, 120, 0, 7]) * day
    past = Histories(np.array([0, 4, 4, 6]), np.array([5, 9, 5, 5, 9, 9], np.int32), times)
    counted = own_items(past, 10).tocoo()
    found = dict(zip(zip(counted.row, counted.col, strict=True), counted.data, strict=True))
    # Half as much after 60 days, counted back from the user's own newest event.
    expected = {(0, 5): 0.25 + 1 + 1, (0, 9): 0.5, (2, 9): 1 + 0.5 ** (7 / 60)}
    assert found == {pair: pytest.approx(np.log1p(n), rel=1e-5) for pair, n in expected.items()}
    assert own_items(histories([[], []]), 10).nnz == 0


def test_gamma_raises_the_users_own_items_and_nothing_else(model):
    whole = histories(USERS)
    plain = ModelRanker(*model, beta=1.0).scores(whole)
    raised = ModelRanker(*model, beta=1.0, gamma=3.0).scores(whole)
    own = own_items(whole, ITEMS).tocoo()
    rows, codes = own.row, own.col
    np.testing.assert_allclose((raised - plain)[rows, codes], 3 * own.data, rtol=1e-4)
    raised[rows, codes] = plain[rows, codes]
    np.testing.assert_array_equal(raised, plain)


def test_a_large_beta_ranks_by_text(model):
    stored, vectors = model
    features = stored.features(vectors)
    codes, _ = ModelRanker(stored, vectors, beta=1e6).top_k(
        histories([[7]]), 10, candidates=None, exclude_seen=False
    )
    assert codes[0].tolist() == np.argsort(-(features @ features[7]), kind="stable")[:10].tolist()
    assert codes[0, 0] == 7


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("k", [1, 7, ITEMS, ITEMS + 5])
def test_top_k_is_the_naive_sort(model, exclude_seen, masked, k):
    candidates = np.arange(ITEMS) % 3 > 0 if masked else None
    rank = ModelRanker(*model, beta=2.0)
    whole = histories(USERS)
    codes, values = rank.top_k(whole, k, candidates=candidates, exclude_seen=exclude_seen)
    assert codes.shape == values.shape == (len(USERS), k)
    for user, scores in enumerate(rank.scores(whole)):
        allowed = [
            i
            for i in range(ITEMS)
            if (candidates is None or candidates[i])
            and not (exclude_seen and i in whole.of(user).tolist())
        ]
        best = sorted(allowed, key=lambda i: (-scores[i], i))[:k]
        assert codes[user].tolist() == best + [-1] * (k - len(best))
        np.testing.assert_array_equal(values[user, : len(best)], scores[best])
        assert np.isneginf(values[user, len(best) :]).all()


def test_users_in_blocks_rank_as_users_at_once(model, monkeypatch):
    rank = ModelRanker(*model, beta=3.0)
    whole = histories(USERS * 5)
    at_once = rank.top_k(whole, 6, candidates=None, exclude_seen=True)
    monkeypatch.setattr(ranker, "_BLOCK_CELLS", 3 * ITEMS)  # three users a block
    in_blocks = rank.top_k(whole, 6, candidates=None, exclude_seen=True)
    np.testing.assert_array_equal(at_once[0], in_blocks[0])
    np.testing.assert_allclose(at_once[1], in_blocks[1], rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 3.0])
@pytest.mark.parametrize("k", [6, ITEMS + 5])
def test_a_catalogue_in_tiles_ranks_as_the_catalogue_at_once(model, monkeypatch, gamma, k):
    rank = ModelRanker(*model, beta=3.0, gamma=gamma)
    whole, some = histories(USERS * 3), np.arange(ITEMS) % 5 != 2
    at_once = rank.top_k(whole, k, candidates=some, exclude_seen=not gamma)
    monkeypatch.setattr(ranker, "_TILE", 7)
    in_tiles = rank.top_k(whole, k, candidates=some, exclude_seen=not gamma)
    np.testing.assert_array_equal(at_once[0], in_tiles[0])
    np.testing.assert_allclose(at_once[1], in_tiles[1], rtol=1e-4)


def test_equal_items_go_by_code_across_tiles(monkeypatch):
    stored, _ = fresh(ITEMS)  # without deltas: an item is its text
    vectors = np.repeat(unit_vectors(4, seed=1), ITEMS // 4, axis=0)
    rank = ModelRanker(stored, vectors, beta=2.0)
    asked = histories([[3], [15, 20]])
    monkeypatch.setattr(ranker, "_TILE", 3)
    codes, values = rank.top_k(asked, 15, candidates=None, exclude_seen=False)
    for found, best in zip(codes, values, strict=True):
        order = np.lexsort((found, -best))
        assert order.tolist() == list(range(15))
        first = found[0]
        assert first % 10 == 0
        assert found[:10].tolist() == list(range(first, first + 10))


def test_a_state_does_not_depend_on_whom_it_is_encoded_with(model, monkeypatch):
    rank = ModelRanker(*model, beta=0.0)
    whole = histories(USERS * 5)
    together = rank.states(whole)
    monkeypatch.setattr(user_side, "_ENCODED", 3)
    np.testing.assert_allclose(rank.states(whole), together, rtol=1e-4, atol=1e-6)
    alone = [rank.states(histories([items]))[0] for items in USERS]
    np.testing.assert_allclose(together[: len(USERS)], alone, rtol=1e-4, atol=1e-6)


def test_no_users_give_an_empty_answer(model):
    codes, scores = ModelRanker(*model, beta=1.0).top_k(
        histories([]), 4, candidates=None, exclude_seen=False
    )
    assert codes.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_a_catalogue_of_one_item(exclude_seen):
    stored, vectors = fresh(1)
    codes, scores = ModelRanker(stored, vectors, beta=5.0).top_k(
        histories([[], [0, 0]]), 3, candidates=None, exclude_seen=exclude_seen
    )
    assert codes.tolist() == [[0, -1, -1], [-1 if exclude_seen else 0, -1, -1]]
    assert np.isfinite(scores[0, 0])


def test_only_the_newest_items_reach_the_model(model):
    stored, _ = model
    length = stored.model.settings.max_length
    long, newest = list(range(20)), list(range(20))[-length:]
    rank = ModelRanker(*model, beta=0.0)
    np.testing.assert_allclose(
        rank.scores(histories([long])), rank.scores(histories([newest])), rtol=1e-5, atol=1e-6
    )


def test_histories_lie_on_the_left():
    found = left_aligned(histories([[1, 2, 3], [], [4]]), 2)
    assert found.tolist() == [[2, 3], [-1, -1], [4, -1]]
    assert left_aligned(histories([[], []]), 3).tolist() == [[-1], [-1]]


def test_queries_meet_items_by_text_and_among_the_models_vectors(model):
    stored, vectors = model
    asked = unit_vectors(3, seed=4)
    plan = SearchModel(Plan(places=1.0), torch.zeros(len(asked[0]), len(asked[0])))
    codes, scores = ModelRanker(stored, vectors, beta=9.0, search=plan).rank_queries(asked, 5)
    with torch.inference_mode():
        queries = stored.model.query(torch.from_numpy(stored.whitening.apply(asked))).numpy()
        items = stored.model.items(
            torch.from_numpy(stored.features(vectors)), stored.deltas
        ).numpy()
    places = queries @ (items / np.linalg.norm(items, axis=1, keepdims=True)).T
    expected = asked @ vectors.T + places
    order = np.argsort(-expected, axis=1)[:, :5]
    assert codes.tolist() == order.tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=1e-5)


def test_loading_gives_the_ranker_of_the_stored_model(tmp_path, model):
    stored, vectors = model
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)

    def run(ctx):
        checkpoint.save(stored, ctx.writer, "blend/")
        return {}

    manifest = commit(lake, settings, NIGHT, STAGES["refresh"], run)
    found = loading.load(
        lake,
        manifest,
        item_ids=stored.item_ids,
        vectors=vectors,
        beta=2.0,
        gamma=1.0,
        prefix="blend/",
    )
    whole = histories(USERS)
    np.testing.assert_array_equal(
        found.scores(whole), ModelRanker(stored, vectors, beta=2.0, gamma=1.0).scores(whole)
    )
