"""What the ranker is given that is empty, unknown, broken or of another version."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from nights_by_hand import ITEMS as NAMES
from nights_by_hand import Shop, later, night_events, past_events, wandering
from small_models import fresh, with_deltas

from factories import commit
from nightshift.errors import BadInput, ModelRejected
from nightshift.lake import Lake
from nightshift.recommend import loading
from nightshift.recommend.explanations.explain import Explainer
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.stages import STAGES
from shop_by_hand import NIGHT, TINY, histories, settings_for, unit_vectors, write_vectors

ITEMS = 12


@pytest.fixture(scope="module")
def model():
    stored, vectors = fresh(ITEMS)
    return with_deltas(stored, scale=0.3), vectors


@pytest.fixture(scope="module")
def rank(model):
    return ModelRanker(*model, beta=2.0, gamma=3.0)


def explained(rank, past, codes):
    return Explainer(rank, pl.Series([f"thing number{i}" for i in range(ITEMS)])).explain(
        past, np.asarray(codes, np.int32)
    )


# --- empty ------------------------------------------------------------------------------------


def test_who_has_no_history_is_ranked_as_everybody_without_one(rank):
    mixed = rank.scores(histories([[], [3, 4], []]))
    np.testing.assert_allclose(mixed[0], rank.scores(histories([[]]))[0], atol=1e-5)
    np.testing.assert_array_equal(mixed[0], mixed[2])
    assert np.isfinite(mixed).all()
    assert np.abs(mixed[0] - mixed[1]).max() > 0.01


def test_nobody_is_an_empty_answer_everywhere(rank):
    assert rank.scores(histories([])).shape == (0, ITEMS)
    codes, _ = rank.top_k(histories([]), 3, candidates=None, exclude_seen=True)
    assert codes.shape == (0, 3)
    assert explained(rank, histories([]), codes).parts.shape[:2] == (0, 3)
    assert rank.rank_queries(unit_vectors(0), 3)[0].shape == (0, 3)


def test_who_has_everything_gets_nothing_and_no_explanation_of_nothing(rank):
    past = histories([list(range(ITEMS))])
    codes, scores = rank.top_k(past, 3, candidates=None, exclude_seen=True)
    assert codes.tolist() == [[-1, -1, -1]]
    assert np.isneginf(scores).all()
    found = explained(rank, past, codes)
    assert not found.parts.any()
    assert (found.because == -1).all()


# --- unknown ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ITEMS, ITEMS + 100, -1])
def test_a_code_that_is_no_item_is_refused_by_its_number_and_row(rank, code):
    strange = histories([[1, 2], [], [3, code, 4]])
    for ask in (rank.scores, rank.user_sides, lambda past: explained(rank, past, [[0]] * 3)):
        with pytest.raises(BadInput, match=f"item code {code}; the catalogue has 12") as caught:
            ask(strange)
        assert caught.value.context["row"] == 2
        assert "leave out items" in caught.value.hint


def test_a_customer_unknown_to_the_snapshot_has_no_profile_and_no_error(model):
    from dataclasses import replace

    from nightshift.recommend.samples.texts import Profiles

    said = Profiles(["known"], unit_vectors(1, seed=4), np.array([0.5], np.float32))
    rank = ModelRanker(*model, beta=2.0, profiles=said, user_keys=["known"])
    whose = replace(histories([[1], [1], [1]]), users=np.array([0, -1, -1]))
    scores = rank.scores(whose)
    np.testing.assert_array_equal(scores[1], scores[2])
    assert np.abs(scores[0] - scores[1]).max() > 0.01


# --- one item ---------------------------------------------------------------------------------


def test_a_catalogue_of_one_item_ranks_and_explains_it():
    stored, vectors = fresh(1)
    rank = ModelRanker(with_deltas(stored), vectors, beta=5.0, gamma=1.0)
    past = histories([[], [0, 0]])
    codes, scores = rank.top_k(past, 2, candidates=None, exclude_seen=False)
    assert codes.tolist() == [[0, -1], [0, -1]]
    explainer = Explainer(rank, pl.Series(["the only thing"]))
    found = explainer.explain(past, codes)
    np.testing.assert_allclose(found.parts[:, 0].sum(axis=1), scores[:, 0], atol=1e-4)
    # It is the mean item itself: nothing sets it apart, and nothing made it so.
    np.testing.assert_allclose(found.above[:, 0], 0, atol=1e-5)
    assert (found.because == -1).all()
    assert explainer.columns(found, codes >= 0)["words"].to_list() == [[], []]


# --- not finite -------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_embedding_that_is_not_finite_is_refused_by_its_items_name(model, bad):
    stored, vectors = model
    spoilt = vectors.copy()
    spoilt[5, 3] = bad
    with pytest.raises(BadInput, match=r"of item 'i005' is not finite\. ") as caught:
        ModelRanker(stored, spoilt, beta=0.0)
    assert "nightshift embed" in caught.value.hint
    spoilt[9] = bad
    with pytest.raises(BadInput, match="'i005' is not finite, nor are 1 others"):
        ModelRanker(stored, spoilt, beta=0.0)


def test_opposite_infinities_do_not_cancel_out(model):
    stored, vectors = model
    spoilt = vectors.copy()
    spoilt[2, :2] = np.inf, -np.inf
    with pytest.raises(BadInput, match="'i002'"):
        ModelRanker(stored, spoilt, beta=0.0)


def test_a_query_that_is_not_finite_or_of_another_encoder_is_refused(rank):
    asked = unit_vectors(3, seed=2)
    asked[1, 0] = np.nan
    with pytest.raises(BadInput, match=r"1 queries are not finite, the first in row 1\."):
        rank.rank_queries(asked, 3)
    with pytest.raises(BadInput, match=r"\[n, 16\], got an array of shape \(2, 24\)"):
        rank.rank_queries(unit_vectors(2, width=24), 3)


@pytest.fixture
def shop(tmp_path):
    return Shop.at(tmp_path, finetune=TINY | {"first_steps": 2, "refresh_passes": 1})


def test_nothing_is_trained_on_an_embedding_that_is_not_finite(shop):
    inputs = shop.before(past_events(wandering(8)))
    models = shop.finetune(inputs)
    spoilt = unit_vectors(len(NAMES))
    spoilt[4] = np.nan
    broken = inputs | {"vectors": write_vectors(shop.lake, shop.settings, spoilt)}
    with pytest.raises(BadInput, match="item 'i04' is not finite"):
        shop.finetune(broken)
    with pytest.raises(BadInput, match="item 'i04' is not finite"):
        shop.refresh(broken, models, night_events({"u003": ["i05"]}))


# --- another version --------------------------------------------------------------------------


@pytest.fixture
def stored_at(tmp_path, model):
    """The model in a lake, its config changed."""
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)

    def make(**changed):
        def run(ctx):
            checkpoint.save(model[0], ctx.writer)
            entry = ctx.writer.entries.pop(checkpoint.CONFIG)
            config = json.loads(lake.local_path(entry).read_bytes())
            config["model"] |= changed.pop("model", {})
            ctx.writer.write_json(checkpoint.CONFIG, config | changed)
            return {}

        return lake, commit(lake, settings, NIGHT, STAGES["finetune"], run, parts=PARTS)

    return make


PARTS = {"arm": "control", "seed": "0"}


def loaded(stored_at, vectors, *, names=None, **changed):
    lake, manifest = stored_at(**changed)
    names = [f"i{code:03}" for code in range(ITEMS)] if names is None else names
    return loading.load(lake, manifest, item_ids=names, vectors=vectors, beta=1.0)


@pytest.mark.parametrize("number", [1, 99, None])
def test_another_format_is_refused_with_both_versions(stored_at, model, number):
    with pytest.raises(ModelRejected, match=f"has format {number}, this version reads") as caught:
        loaded(stored_at, model[1], format=number)
    assert "--first" in caught.value.hint


@pytest.mark.parametrize("changed", [{"dim": 32}, {"layers": 3}, {"of_the_future": 1}])
def test_settings_that_the_weights_do_not_fit_are_refused(stored_at, model, changed):
    with pytest.raises(ModelRejected, match="weights do not fit its config"):
        loaded(stored_at, model[1], model=changed)


def test_embeddings_of_another_width_are_refused(stored_at):
    with pytest.raises(ModelRejected, match=r"width 16, got 24.*text\.encoder"):
        loaded(stored_at, unit_vectors(ITEMS, width=24))


def test_embeddings_of_another_catalogue_are_refused(stored_at, model):
    with pytest.raises(ModelRejected, match=r"laid out for 12 items, .* are of 11"):
        loaded(stored_at, model[1][:-1])
    names = [f"other{code}" for code in range(ITEMS)]
    found = loaded(stored_at, model[1], names=names)  # items it has never seen: by text alone
    assert not found.stored.deltas.any()


def test_another_encoder_of_the_same_width_is_refused_where_training_goes_on(shop):
    """Nothing in the numbers would tell; the state says whose embeddings it has read."""

    def embedded(night, encoder):
        inputs = shop.before(past_events(wandering(8)), night=night)

        def run(ctx):
            rows = np.arange(len(NAMES), dtype=np.int32)
            vectors = unit_vectors(len(NAMES)).astype(np.float16)
            tensors = {"vectors": vectors, "row_of_item": rows}
            ctx.writer.write_tensors("items.safetensors", tensors)
            return {"encoder": encoder}

        vectors = commit(shop.lake, shop.settings, night, STAGES["embed"], run)
        return inputs | {"vectors": vectors}

    first = embedded(NIGHT, "a" * 64)
    state = shop.refresh(first, shop.finetune(first), night_events({"u003": ["i05"]}))
    assert state.stats["encoder"] == "a" * 64
    second = later(1)
    shop.finetune(embedded(second, "a" * 64) | {"parent": state}, night=second)
    with pytest.raises(ModelRejected, match="the encoder aaaaaaaaaaaa, tonight's are of bbbb"):
        shop.finetune(embedded(second, "b" * 64) | {"parent": state}, night=second)
