"""What followed an item: the counts, and what they do to scores, lists and explanations."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from small_models import fresh

from nightshift.errors import ModelRejected
from nightshift.recommend.explanations.explain import Explainer
from nightshift.recommend.exports.exported import load
from nightshift.recommend.exports.write import export
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking import followers as followers_module
from nightshift.recommend.ranking.followers import MOST, Followers, followers_of
from shop_by_hand import histories

ITEMS = 40
RNG = np.random.default_rng(0)
PAST = [RNG.integers(0, ITEMS - 4, RNG.integers(0, 12)).tolist() for _ in range(60)]
USERS = [[3, 8, 8, 21], [], [5], RNG.integers(0, ITEMS, 30).tolist()]


@pytest.fixture(scope="module")
def stored():
    return fresh(ITEMS)


@pytest.fixture(scope="module")
def followers() -> Followers:
    return Followers.count(histories(PAST), ITEMS)


def counted_naively(past: list[list[int]]) -> np.ndarray:
    found = np.zeros((ITEMS, ITEMS))
    events = np.zeros(ITEMS)
    for items in past:
        for place, item in enumerate(items):
            events[item] += 1
            for gap, other in enumerate(items[place + 1 : place + 11]):
                found[item, other] += 0.8**gap
                found[other, item] += 0.4 * 0.8**gap
    np.fill_diagonal(found, 0)
    return found / np.sqrt(np.maximum(np.outer(events, events), 1))


def test_counts_are_those_of_the_histories(followers):
    np.testing.assert_allclose(followers.table.toarray(), counted_naively(PAST), rtol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_blocks_of_items_change_nothing(followers, monkeypatch, at_once):
    monkeypatch.setattr(followers_module, "_AT_ONCE", at_once)
    found = Followers.count(histories(PAST), ITEMS).table
    np.testing.assert_array_equal(found.toarray(), followers.table.toarray())


def test_the_strongest_are_kept():
    past = [[0, other] for other in range(1, MOST + 10) for _ in range(1 + other % 7)]
    found = Followers.count(histories(past), MOST + 10)
    assert found.table[0].nnz == MOST
    # Seven customers went from 0 to each of these, fewer to all others.
    assert set(range(6, MOST + 10, 7)) <= set(found.table[0].indices.tolist())


def test_nothing_follows_where_nothing_was_done():
    for past in ([], [[]], [[3]]):
        found = Followers.count(histories(past), ITEMS)
        assert found.table.nnz == 0
        assert found.side(histories(USERS)).nnz == 0


def test_an_item_without_events_follows_nothing_and_is_followed_by_nothing(followers):
    new = np.arange(ITEMS - 4, ITEMS)
    assert followers.table[new].nnz == 0
    assert followers.table[:, new].nnz == 0


def test_the_side_weighs_newer_items_more(followers):
    found = followers.side(histories(USERS)).toarray()
    table = followers.table.toarray()
    for row, items in zip(found, USERS, strict=True):
        expected = sum(
            (0.7**back * table[item] for back, item in enumerate(items[:-11:-1])),
            start=np.zeros(ITEMS),
        )
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-7)


def test_they_are_counted_once_for_the_same_events_and_anew_for_others():
    one = followers_of(histories(PAST), ITEMS)
    assert followers_of(histories(PAST), ITEMS) is one
    other = followers_of(histories([*PAST, [1, 2]]), ITEMS)
    assert other.table[1, 2] > one.table[1, 2]


def test_scores_have_what_follows_on_top_and_lists_are_the_best_of_them(stored, followers):
    whole = histories(USERS)
    plain = ModelRanker(*stored, beta=1.0, gamma=2.0).scores(whole)
    ranker = ModelRanker(*stored, beta=1.0, gamma=2.0, follow=3.0, followers=followers)
    scores = ranker.scores(whole).copy()
    np.testing.assert_allclose(
        scores - plain, 3 * followers.side(whole).toarray(), rtol=1e-3, atol=1e-4
    )
    codes, best = ranker.top_k(whole, 7, candidates=None, exclude_seen=False)
    np.testing.assert_allclose(best, -np.sort(-scores, axis=1)[:, :7], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(scores, codes, 1), best, rtol=1e-4, atol=1e-4)


def test_without_a_weight_or_without_counts_nothing_changes(stored, followers):
    whole = histories(USERS)
    plain = ModelRanker(*stored, beta=1.0).scores(whole).copy()
    for ranker in (
        ModelRanker(*stored, beta=1.0, follow=0.0, followers=followers),
        ModelRanker(*stored, beta=1.0, follow=5.0),
    ):
        np.testing.assert_array_equal(ranker.scores(whole), plain)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_explanations_count_them(stored, followers, gamma):
    whole = histories(USERS)
    ranker = ModelRanker(*stored, beta=1.0, gamma=gamma, follow=3.0, followers=followers)
    codes, scores = ranker.top_k(whole, 5, candidates=None, exclude_seen=False)
    explainer = Explainer(ranker, pl.Series([f"word{code}" for code in range(ITEMS)]))
    found = explainer.explain(whole, codes)
    assert found.terms[-1] == "followers"
    np.testing.assert_allclose(found.parts.sum(axis=2), scores, rtol=1e-3, atol=1e-3)
    side = 3 * followers.side(whole).toarray()
    np.testing.assert_allclose(found.means[:, -1], side.mean(axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("to", ["float32", "half", "int8"])
def test_an_export_ranks_by_them(stored, followers, tmp_path, to):
    whole = histories(USERS)
    ranker = ModelRanker(*stored, beta=0.0, follow=50.0, followers=followers)
    export(ranker, tmp_path / to, to, source={})
    codes, _ = load(tmp_path / to).top_k(whole, 5, candidates=None, exclude_seen=False)
    expected, _ = ranker.top_k(whole, 5, candidates=None, exclude_seen=False)
    followed = [row for row, items in enumerate(USERS) if items]
    np.testing.assert_array_equal(codes[followed, :3], expected[followed, :3])


def test_followers_of_another_catalogue_are_refused(stored):
    for n_items in (ITEMS - 10, ITEMS + 10):
        counted = Followers.count(histories([[1, 2]]), n_items)
        with pytest.raises(ModelRejected, match=f"over {n_items} items, the catalogue has {ITEMS}"):
            ModelRanker(*stored, beta=0.0, follow=1.0, followers=counted)


def test_short_histories_hold_no_empty_cells(followers):
    """The places of a short history that have no item stand for none: not for the first."""
    side = followers.side(histories([[5], []]))
    assert side.nnz == followers.table[5].nnz


def test_an_export_whose_followers_are_not_of_its_catalogue_is_refused(stored, followers, tmp_path):
    ranker = ModelRanker(*stored, beta=0.0, follow=5.0, followers=followers)
    strange = followers.table.copy()
    strange.indices = strange.indices + ITEMS
    ranker.followers = Followers(strange)
    export(ranker, tmp_path / "strange", "float32", source={})
    with pytest.raises(ModelRejected, match="do not fit"):
        load(tmp_path / "strange")
