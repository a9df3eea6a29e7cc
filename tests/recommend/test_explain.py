"""Explanations against the score itself: exact parts, exact leave-one-out, words in common."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
import torch
from small_models import fresh, trained, training_set, walks, with_deltas

from nightshift.histories import Histories
from nightshift.recommend.explanations import leave_out
from nightshift.recommend.explanations.explain import BECAUSE, WORDS, Explainer
from nightshift.recommend.explanations.leave_out import last_items, without
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.texts import ItemTexts, Profiles
from shop_by_hand import histories, unit_vectors

ITEMS = 40
RNG = np.random.default_rng(0)
USERS = [[3, 9, 3, 1], [], [5], [int(i) for i in RNG.integers(0, ITEMS, 25)], [7, 8]]
TEXTS = pl.Series([f"thing number{code % 7} colour{code % 5}" for code in range(ITEMS)])
CANDIDATES = np.arange(ITEMS) % 4 > 0


def everything_ranker(**changed):
    """A ranker with every term that a score can have."""
    stored, vectors = fresh(ITEMS, layers=2)
    with_deltas(stored, scale=0.3)
    noise = torch.Generator().manual_seed(3)
    stored.sample_deltas[::3] = torch.randn(stored.sample_deltas[::3].shape, generator=noise) * 0.2
    stored.texts = ItemTexts(np.array([2, 11, 30]), unit_vectors(3, seed=9))
    profiles = Profiles(["u0", "u3"], unit_vectors(2, seed=4), np.array([0.5, 0.25], np.float32))
    return ModelRanker(
        stored,
        vectors,
        **{"beta": 3.0, "gamma": 2.0, "profiles": profiles, "user_keys": keys()} | changed,
    )


def keys():
    return [f"u{number}" for number in range(len(USERS))]


def known(lists=USERS):
    return replace(histories(lists), users=np.arange(len(lists)))


@pytest.fixture(scope="module")
def explained():
    ranker = everything_ranker()
    explainer = Explainer(ranker, TEXTS, candidates=CANDIDATES, history=10)
    codes, scores = ranker.top_k(known(), 6, candidates=CANDIDATES, exclude_seen=False)
    return ranker, explainer, codes, scores, explainer.explain(known(), codes)


def test_the_parts_sum_to_the_score(explained):
    _, explainer, _, scores, found = explained
    assert explainer.terms == ("text", "id", "samples", "text_similarity", "own")
    np.testing.assert_allclose(found.parts.sum(axis=2), scores, atol=1e-4)
    # Each of them does something here, so none hides behind another.
    assert (np.abs(found.parts).max(axis=(0, 1)) > 0.01).all()


def test_each_part_is_the_term_it_is_called(explained):
    ranker, explainer, codes, _, found = explained
    wanted = (np.arange(len(codes))[:, None], codes)
    part = {name: found.parts[:, :, place] for place, name in enumerate(explainer.terms)}
    similarity = 3.0 * ranker.text_similarity(known())
    np.testing.assert_allclose(part["text_similarity"], similarity[wanted], atol=1e-4)
    stored = ranker.stored
    states = torch.from_numpy(ranker.states(known()))
    with torch.inference_mode():
        text = stored.model.text(torch.from_numpy(ranker.features))
        bare = stored.model.items(torch.from_numpy(ranker.shown), torch.zeros_like(stored.deltas))
        full = stored.model.items(torch.from_numpy(ranker.shown), stored.deltas)
    np.testing.assert_allclose(part["text"], (states @ text.T).numpy()[wanted], atol=1e-4)
    np.testing.assert_allclose(part["id"], (states @ (full - bare).T).numpy()[wanted], atol=1e-4)
    untouched = np.setdiff1d(np.arange(ITEMS), [*range(0, ITEMS, 3), 2, 11, 30])
    assert (part["samples"][np.isin(codes, untouched)] == 0).all()
    assert (part["samples"][~np.isin(codes, untouched)] != 0).all()
    own = np.array(
        [[code in items for code in row] for row, items in zip(codes, USERS, strict=True)]
    )
    assert ((part["own"] > 0) == own).all()
    assert own.any()


def test_means_are_those_of_the_candidates(explained):
    _, explainer, _, _, found = explained
    every = np.tile(np.flatnonzero(CANDIDATES).astype(np.int32), (len(USERS), 1))
    of_all = explainer.explain(known(), every)
    np.testing.assert_allclose(of_all.parts.mean(axis=1), found.means, atol=1e-5)
    np.testing.assert_allclose(of_all.above.sum(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(found.shares.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(
        found.shares, np.abs(found.above) / np.abs(found.above).sum(axis=2, keepdims=True)
    )


def naive_contributions(ranker, user, items, code):
    """One history item at a time: dense scores with it and without any event with it."""

    def centred(history, times):
        one = Histories(
            np.array([0, len(history)]), np.array(history, np.int32), times, np.array([user])
        )
        scores = ranker.scores(one)[0]
        return scores[code] - scores[CANDIDATES].mean()

    whole = known()
    times = whole.times[whole.indptr[user] : whole.indptr[user + 1]]
    found = {}
    for item in dict.fromkeys(items[::-1][:10]):
        stay = np.array([i != item for i in items])
        left = [i for i in items if i != item]
        found[item] = centred(items, times) - centred(left, times[stay])
    return sorted(((by, item) for item, by in found.items() if by > 1e-4), reverse=True)


def test_leave_one_out_is_exact(explained):
    ranker, _, codes, _, found = explained
    looked = 0
    for user, items in enumerate(USERS):
        for place, code in enumerate(codes[user]):
            expected = naive_contributions(ranker, user, items, code)[:BECAUSE]
            because = found.because[user, place]
            assert because[because >= 0].tolist() == [item for _, item in expected]
            np.testing.assert_allclose(
                found.carried[user, place, : len(expected)], [by for by, _ in expected], atol=2e-4
            )
            looked += len(expected)
    assert looked > 20


def test_small_blocks_change_nothing(explained, monkeypatch):
    _, explainer, codes, _, found = explained
    for limit in (("_ROWS", 5), ("_EVENTS", 40)):
        monkeypatch.setattr(leave_out, *limit)
        again = explainer.explain(known(), codes)
        np.testing.assert_array_equal(again.because, found.because)
        np.testing.assert_allclose(again.carried, found.carried, atol=1e-5)
        np.testing.assert_array_equal(again.words, found.words)


def test_what_a_trained_model_follows_is_what_it_says():
    """Every item has one successor: the newest item carries the recommendation."""
    walked, successor = walks(20, 300, 6)
    stored, vectors = fresh(20, dropout=0.0, id_dropout=0.0)
    trained(stored, vectors, training_set(walked), steps=400)
    ranker = ModelRanker(stored, vectors, beta=0.0)
    some = walked.take(np.arange(40))
    codes, _ = ranker.top_k(some, 1, candidates=None, exclude_seen=True)
    newest = some.last(1)[:, 0]
    assert (codes[:, 0] == successor[newest]).mean() > 0.9
    found = Explainer(ranker, pl.Series([""] * 20)).explain(some, codes)
    assert (found.because[:, 0, 0] == newest).mean() > 0.9


def test_a_cold_item_has_no_share_of_id():
    stored, vectors = fresh(ITEMS)
    with_deltas(stored, rows=slice(0, ITEMS // 2))
    ranker = ModelRanker(stored, vectors, beta=1.0)
    found = Explainer(ranker, TEXTS).explain(
        histories([[1, 2]]), np.array([[3, ITEMS - 1]], np.int32)
    )
    assert found.terms == ("text", "id", "text_similarity")  # nothing of samples, nor of one's own
    assert found.parts[0, 0, 1] != 0
    assert found.parts[0, 1, 1] == 0


def test_nobodys_history_and_missing_items_explain_as_nothing(explained):
    _, explainer, _, _, _ = explained
    codes = np.array([[4, -1]], np.int32)
    found = explainer.explain(histories([[]]), codes)
    assert (found.because == -1).all()
    assert (found.words == -1).all()
    assert found.parts[0, 0].any()
    assert not found.parts[0, 1].any()
    one = explainer.one(found, 0, 0)
    assert one.because == ()
    assert one.words == ()
    empty = explainer.explain(histories([]), np.zeros((0, 3), np.int32))
    assert empty.parts.shape == (0, 3, 5)


def test_one_explanation_reads_and_is_json(explained):
    ranker, explainer, codes, scores, found = explained
    one = explainer.one(found, 3, 1)
    body = json.loads(json.dumps(one.as_json()))
    assert body["item_id"] == ranker.stored.item_ids[codes[3, 1]]
    assert body["score"] == pytest.approx(scores[3, 1], abs=1e-4)
    assert sum(body["parts"].values()) == pytest.approx(body["score"], abs=1e-4)
    assert sum(body["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert {name: abs(value) for name, value in body["above_mean"].items()} == {
        name: pytest.approx(share * sum(map(abs, body["above_mean"].values())), abs=1e-4)
        for name, share in body["shares"].items()
    }
    assert body["because"]
    by = [entry["contribution"] for entry in body["because"]]
    assert by == sorted(by, reverse=True)


def test_columns_say_the_same(explained):
    _, explainer, codes, _, found = explained
    kept = codes >= 0
    kept[0, 2:] = False
    columns = explainer.columns(found, kept)
    one = explainer.one(found, 4, 0)
    row = int(kept[:4].sum())
    assert columns["because"][row].to_list() == [item for item, _ in one.because]
    assert columns["words"][row].to_list() == list(one.words)
    shares = json.loads(columns["shares"][row])
    assert shares == {name: pytest.approx(value, abs=1e-3) for name, value in one.shares.items()}
    assert {len(column) for column in columns.values()} == {int(kept.sum())}


def test_words_are_those_in_common_the_rarest_first():
    texts = ["red wool scarf 500g", "wool hat", "scarf hat red", "candle", "lamp", "mug", "pen"]
    texts += ["the cup", "the jug", "the pot", "the pan", "box", None]
    stored, vectors = fresh(len(texts))
    explainer = Explainer(ModelRanker(stored, vectors, beta=0.0), pl.Series(texts))
    vocabulary = explainer.words.vocabulary
    assert vocabulary.to_list() == ["hat", "red", "scarf", "wool"]  # "the" is in too many

    def shared(item, *others):
        rows = explainer.words.shared(np.array([item]), np.array([others]), WORDS)[0]
        return [vocabulary[int(row)] for row in rows if row >= 0]

    assert shared(0, 1, 2) == ["hat", "red", "scarf", "wool"][1:]
    assert shared(0, 3, -1) == []
    assert shared(-1, 0, 1) == []
    assert shared(12, 0, 1) == []
    more = Explainer(
        ModelRanker(stored, vectors, beta=0.0), pl.Series(["red", *texts[1:11], "red", "red hat"])
    )
    rows = more.words.shared(np.array([12]), np.array([[0, 1]]), 1)
    assert [more.words.vocabulary[int(row)] for row in rows[0]] == ["hat"]  # rarer than "red"


def test_words_are_of_the_carrying_items_alone(explained):
    ranker, explainer, codes, _, found = explained
    said = 0
    for user in range(len(USERS)):
        for place in range(codes.shape[1]):
            one = explainer.one(found, user, place)
            mine = set(TEXTS[int(codes[user, place])].split())
            theirs = {
                word
                for item, _ in one.because
                if item != one.item_id
                for word in TEXTS[ranker.stored.item_ids.index(item)].split()
            }
            assert set(one.words) == mine & theirs - {"thing"}
            said += len(one.words)
    assert said


def test_last_items_are_each_looked_at_once():
    found = last_items(histories([[1, 2, 1, 3], [], [4]]), 3)
    assert found.tolist() == [[3, 1, 2], [-1, -1, -1], [4, -1, -1]]
    assert last_items(histories([[7, 7, 7]]), 3).tolist() == [[7, -1, -1]]


def test_a_shortened_history_loses_every_event_with_the_item_and_all_its_columns():
    whole = known()
    short = without(whole, np.array([0, 0, 2]), np.array([3, 9, 5]))
    assert [short.of(row).tolist() for row in range(3)] == [[9, 1], [3, 3, 1], []]
    assert short.times.tolist() == [1, 3, 0, 2, 3]
    assert short.users.tolist() == [0, 0, 2]
    told = replace(
        whole,
        kinds=np.ones(len(whole.items), np.int8),
        targets=whole.items == 3,
        journey=whole,
        now=7,
    )
    short = without(told, np.array([0, 0, 2]), np.array([3, 9, 5]))
    of_users = ("indptr", "users", "journey", "now")
    for field in fields(short):
        if field.name not in of_users:
            assert len(getattr(short, field.name)) == len(short.items)
    assert short.now == 7
    assert short.journey is not None
    assert short.journey.of(0).tolist() == [9, 1]
