"""The weight of what is recommended in what a customer searches, on planted wishes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from small_models import fresh

from nightshift.lake import Lake
from nightshift.recommend.choosing import trials
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.search.history import best_history, personal_searches
from nightshift.recommend.search.hybrid import Plan, SearchModel
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, WIDTH, events, samples, search_rows, settings_for, unit_vectors
from shop_by_hand import write_snapshot as snapshot_of

N, USERS = 30, 24
NAMES = [f"i{code:03}" for code in range(N)]


class Knowing(ModelRanker):
    """Recommends each user the items whose code is the user's first item, or their opposite."""

    sense = 1.0

    def scores(self, histories):
        own = histories.items[histories.indptr[:-1]]
        away = np.abs(np.arange(N)[None, :] - own[:, None])
        return (-self.sense * away).astype(np.float32)


@pytest.fixture
def shop(tmp_path):
    """Everybody asks the same and wants what they had."""
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    had = {f"u{number:02}": [NAMES[number]] for number in range(USERS)}
    before = events(had, NIGHT.start - timedelta(days=2))
    return Snapshot(lake, snapshot_of(lake, settings, before, NAMES))


def asked_by(users, items):
    rows = search_rows(*(("thing", NAMES[item]) for item in items))
    return rows.with_columns(user_key=pl.Series([f"u{user:02}" for user in users]))


def ranker_that(sense=1.0, **plan):
    stored, vectors = fresh(N)
    found = Knowing(
        stored, vectors, beta=0.0, search=SearchModel(Plan(**plan), torch.zeros(WIDTH, WIDTH))
    )
    found.sense = sense
    return found


def embed(texts):
    return np.repeat(unit_vectors(1, seed=4), len(texts), axis=0)


EVERYBODY = asked_by(range(USERS), range(USERS))


def test_wishes_count_where_they_tell_what_is_wanted(shop):
    ranker = ranker_that()
    assert best_history(ranker, shop, EVERYBODY, embed) > 0
    assert ranker.queries.search.plan.history == 0.0  # only asked, not set


def test_wishes_that_mislead_count_nothing(shop):
    assert best_history(ranker_that(sense=-1.0), shop, EVERYBODY, embed) == 0.0


@pytest.mark.parametrize("searches", [EVERYBODY.head(19), EVERYBODY.clear()])
def test_with_few_searches_the_weight_is_zero(shop, searches):
    assert best_history(ranker_that(), shop, searches, embed) == 0.0


def test_a_search_counts_with_a_known_customer_and_an_item_that_is_sold(shop):
    strange = asked_by([0, 90, 1], [3, 4, 5]).with_columns(
        item_id=pl.Series([NAMES[3], NAMES[4], "no longer sold"])
    )
    nobody = search_rows(("thing", NAMES[0]))
    twice = asked_by([2, 2], [6, 7])
    queries, users = personal_searches(shop, pl.concat([strange, nobody, twice]))
    assert users.to_list() == [0, 2]
    assert queries.texts == ["thing", "thing"]
    assert np.split(queries.items, queries.indptr[1:-1])[0].tolist() == [3]
    assert np.split(queries.items, queries.indptr[1:-1])[1].tolist() == [6, 7]


def test_a_trial_asks_the_control_that_it_has_trained(shop, tmp_path, monkeypatch):
    """The control's model, its β and γ, and a tower that learnt from no sample."""
    stored, vectors = fresh(N)
    seen = {}

    def learnt(of, features, embeddings, snapshot, made, lake, settings, *, seed):
        seen["samples"] = made.height
        assert of is stored
        return SearchModel(Plan(), torch.zeros(WIDTH, WIDTH)), 0.0

    def chosen(ranker, snapshot, searches, encode):
        seen["weights"] = (ranker.beta, ranker.gamma)
        return 0.1

    monkeypatch.setattr(trials, "learn_search", learnt)
    monkeypatch.setattr(trials, "best_history", chosen)
    query = {"kind": "query", "strategy": "llm_queries", "text": "made"}
    settings = settings_for(tmp_path / "trial", tune={"betas": (2.5,)})
    tried = trials.Trials(settings, tmp_path, shop, vectors, samples(query), None, embed, gamma=4.0)
    tried._models[()] = stored
    assert tried.history_weight(EVERYBODY) == 0.1
    assert seen == {"samples": 0, "weights": (2.5, 4.0)}
    seen.clear()
    assert tried.history_weight(EVERYBODY.head(5)) == 0.0
    assert not seen  # nothing was trained for it
