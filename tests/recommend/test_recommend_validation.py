"""The inner split's judgement: slices, targets, and one pass over every β."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from small_models import fresh

from nightshift import metrics
from nightshift.lake import Lake
from nightshift.recommend.choosing.validation import Validation
from nightshift.recommend.ranker import ModelRanker
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, events, settings_for, write_morning, write_snapshot

ITEMS = [f"i{code:03}" for code in range(20)]
WITHHELD = ["i010", "i011"]
# i000 is bought by seven (warm), i001 by two (tail), i002 and later by nobody (cold).
PAST = {f"u{n}": ["i000", "i001"] if n < 2 else ["i000"] for n in range(7)}
INSIDE = {
    "u0": ["i000", "i000", "i005", "i010"],
    "u1": ["i002", "i001"],
    "u2": ["i011"],
    "u3": ["i000"],
    "stranger": ["i000"],
}


@pytest.fixture
def validation(tmp_path):
    def make(*, repeats=True, inside=INSIDE):
        settings = settings_for(tmp_path)
        lake = Lake.of(settings)
        before = events(PAST, NIGHT.start - timedelta(days=3))
        manifest = write_snapshot(lake, settings, before, ITEMS, repeats=repeats, withheld=WITHHELD)
        morning = write_morning(lake, settings, events(inside, NIGHT.start))
        scan = lake.scan(morning, "events.parquet")
        return Validation.of(Snapshot(lake, manifest), scan, settings)

    return make


def targets(validation, name):
    found = validation.relevant[name]
    return [found.of(user).tolist() for user in range(len(found))]


def test_targets_are_distinct_items_by_slice(validation):
    found = validation()
    assert [h.tolist() for h in map(found.histories.of, range(4))] == [[0, 1], [0, 1], [0], [0]]
    assert targets(found, "overall") == [[0, 5], [1, 2], [], [0]]  # never a withheld item
    assert targets(found, "warm") == [[0], [], [], [0]]
    assert targets(found, "cold") == [[5, 10], [2], [11], []]


def test_where_nothing_repeats_what_the_user_had_is_no_target(validation):
    found = validation(repeats=False)
    assert targets(found, "overall") == [[5], [2], []]
    assert targets(found, "cold") == [[5, 10], [2], [11]]
    assert found.exclude_seen


@pytest.mark.parametrize("wide", [50, 11, 10])  # 10: withheld items leave a list too short
@pytest.mark.parametrize("repeats", [True, False])
def test_every_beta_is_judged_as_a_ranker_with_that_beta_would_rank(
    validation, repeats, wide, monkeypatch
):
    monkeypatch.setattr("nightshift.recommend.choosing.validation._WIDE", wide)
    found = validation(repeats=repeats)
    stored, vectors = fresh(len(ITEMS))
    betas = (0.0, 3.0, 20.0)
    judged = found.judge(ModelRanker(stored, vectors, beta=0.0), betas)
    for beta in betas:
        ranker = ModelRanker(stored, vectors, beta=beta)
        for name, candidates, metric in (
            ("overall", found.candidates, metrics.ndcg),
            ("warm", found.candidates, metrics.ndcg),
            ("cold", None, metrics.recall),
        ):
            relevant = found.relevant[name]
            codes, _ = ranker.top_k(
                found.histories, 10, candidates=candidates, exclude_seen=not repeats
            )
            values = metric(metrics.hits(codes, relevant.indptr, relevant.items), relevant.lengths)
            np.testing.assert_allclose(judged[beta][name], values[relevant.lengths > 0])


def test_withheld_items_take_no_place_from_the_natural_catalogue(validation):
    found = validation()
    assert np.flatnonzero(~found.candidates).tolist() == [10, 11]


def test_users_in_blocks_are_judged_as_at_once(validation, monkeypatch):
    found = validation()
    ranker = ModelRanker(*fresh(len(ITEMS)), beta=0.0)
    at_once = found.judge(ranker, (0.0, 5.0))
    monkeypatch.setattr("nightshift.recommend.choosing.validation._BLOCK_CELLS", 1)
    in_blocks = found.judge(ranker, (0.0, 5.0))
    for beta, figures in at_once.items():
        for name, values in figures.items():
            np.testing.assert_allclose(in_blocks[beta][name], values)


def test_of_many_users_a_seeded_part_is_asked(validation, monkeypatch):
    monkeypatch.setattr("nightshift.recommend.choosing.validation._MAX_USERS", 2)
    one, two = validation(), validation()
    assert len(one.histories) == 2
    for name in ("overall", "warm", "cold"):
        assert targets(one, name) == targets(two, name)
    every = [[0, 5], [1, 2], [], [0]]
    assert all(found in every for found in targets(one, "overall"))


def test_a_night_in_which_nobody_came_gives_no_figures(validation):
    found = validation(inside={"stranger": ["i000"]})
    judged = found.judge(ModelRanker(*fresh(len(ITEMS)), beta=0.0), (0.0,))
    assert {name: len(values) for name, values in judged[0.0].items()} == {
        "overall": 0,
        "warm": 0,
        "cold": 0,
    }


def test_a_catalogue_of_fewer_items_than_places(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events({"u": ["a", "b"]}, NIGHT.start - timedelta(days=1))
    snapshot = Snapshot(lake, write_snapshot(lake, settings, before, ["a", "b", "c"]))
    morning = write_morning(lake, settings, events({"u": ["c"]}, NIGHT.start))
    found = Validation.of(snapshot, lake.scan(morning, "events.parquet"), settings)
    judged = found.judge(ModelRanker(*fresh(3), beta=0.0), (0.0,))
    assert judged[0.0]["cold"].tolist() == [1.0]
