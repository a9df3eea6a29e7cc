"""Synthetic sequences: on top of the real rows of every step, never in their place."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import numpy as np
import pytest
import torch
from nights_by_hand import Shop, past_events, wandering
from small_models import assert_same_weights, fresh, trained, training_set, walks, weights

from nightshift.lake import Lake
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.arms import sequences
from nightshift.recommend.training import loop as training
from nightshift.recommend.training.steps import Plan, draw
from nightshift.recommend.training.windows import SampleWindows, Windows
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, events, histories, samples, settings_for, write_snapshot

SEQUENCE = {"kind": "sequence", "strategy": "sequence_ops"}


# --- from samples to windows ------------------------------------------------------------------


@pytest.fixture
def snapshot(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events({"u1": ["a", "b"]}, NIGHT.start - timedelta(days=1))
    return Snapshot(lake, write_snapshot(lake, settings, before, ["a", "b", "c", "d", "e"]))


def test_a_sequence_is_its_context_and_its_item_and_every_position_is_a_target(snapshot):
    found = sequences(
        snapshot,
        samples(
            SEQUENCE | {"context_items": ["c", "gone", "a"], "item_id": "d", "weight": 0.3},
            SEQUENCE | {"context_items": ["gone"], "item_id": "d"},  # one item: dropped
            SEQUENCE | {"context_items": ["a", "b"], "item_id": "gone", "weight": 0.1},
            SEQUENCE | {"context_items": ["a"], "item_id": "b", "weight": 0.0},
            {"context_items": ["a"], "item_id": "b"},  # an interaction
        ),
        max_length=8,
    )
    assert found is not None
    batch = found.windows.batch(np.arange(2))
    assert batch.inputs.tolist() == [[2, 0], [0, -1]]
    assert batch.targets.tolist() == [[2, 0, 3], [0, 1, -1]]
    assert found.weights[batch.users].tolist() == pytest.approx([0.3, 0.1])


def test_a_long_sequence_is_cut_into_windows_of_its_own_weight(snapshot):
    long = SEQUENCE | {"context_items": list("abcdeabcde"), "item_id": "a", "weight": 0.7}
    found = sequences(snapshot, samples(long), max_length=4)
    assert found is not None
    assert len(found) == 3
    batch = found.windows.batch(np.arange(3))
    assert (batch.targets >= 0).sum() == 11
    assert found.weights[batch.users].tolist() == pytest.approx([0.7] * 3)


def test_nothing_to_learn_from_is_none(snapshot):
    assert sequences(snapshot, samples(), max_length=4) is None
    short = samples(SEQUENCE | {"context_items": [], "item_id": "a"})
    assert sequences(snapshot, short, max_length=4) is None


# --- beside the real rows ---------------------------------------------------------------------


def synthetic(lists, weight=1.0):
    of = Windows.cover(histories(lists), 8)
    return SampleWindows(of, np.full(len(lists), weight, dtype=np.float32))


def test_real_rows_negatives_and_masks_are_those_of_a_run_without():
    walked, _ = walks(20, users=40, length=7)
    plan = Plan(10, 1e-2, 16, 24, seed=3)
    drawn = [
        list(islice(draw(training_set(walked, extra=extra), plan, 30, 0.3), 12))
        for extra in (None, synthetic([[1, 2, 3]] * 10))
    ]
    for without, beside in zip(*drawn, strict=True):
        assert len(without.groups) == 1
        for ours, theirs in zip(without.groups[0], beside.groups[0], strict=True):
            for one, other in zip(ours.items, theirs.items, strict=True):
                assert np.array_equal(one, other)
            assert np.array_equal(ours.lengths, theirs.lengths)
        assert np.array_equal(without.shown, beside.shown)
        # 10 sequences for 40 windows: as often as a real one, so 4 beside 16.
        assert sum(len(rows.lengths) for rows in beside.groups[1]) in (4, 2)


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (40, 16), (4000, 20), (0, 0)])
def test_a_sequence_comes_as_often_as_a_real_window_up_to_a_bound(number, expected):
    walked, _ = walks(20, users=40, length=7)
    data = training_set(walked, extra=synthetic([[1, 2]] * number))
    assert data.extra_per_step(Plan(10, 1e-2, 16, 24, seed=0, sequences=20)) == expected


def test_sequences_without_weight_change_nothing_that_real_rows_learn():
    """Their dice are their own: dropout falls on the real rows as it does without them."""
    walked, _ = walks(20, users=40, length=7)
    made = []
    for extra in (None, synthetic([[25, 26, 27]] * 20, weight=0.0)):
        stored, vectors = fresh(30, dropout=0.3)
        losses = trained(stored, vectors, training_set(walked, extra=extra), steps=12)
        made.append((weights(stored), losses))
    assert made[1][1] == pytest.approx(made[0][1], abs=1e-4)
    for name, value in made[0][0].items():
        if not name.endswith("qkv.bias"):  # the key's has no gradient but rounding
            torch.testing.assert_close(made[1][0][name], value, atol=2e-4, rtol=1e-3)


def test_the_loss_of_sequences_is_weighted_and_comes_on_top(monkeypatch):
    """The gradient is that of the real mean, and of each synthetic target at its weight."""
    monkeypatch.setattr(training, "_MAX_NORM", 1e9)  # clipping scales all parts of a step alike
    lists, pool = [[0, 1, 2], [3]], [2]
    slopes = []
    for extra in (None, synthetic([[4, 5]], weight=0.5), synthetic([[4, 5]], weight=1.0)):
        stored, vectors = fresh(30, dropout=0.0, id_dropout=0.0)
        data = training_set(histories(lists), extra=extra)
        data = type(data)(data.windows, np.array(pool), None, extra)
        before = stored.model.start.detach().clone()
        trained(stored, vectors, data, steps=1, negatives=5, batch=2)
        slopes.append(stored.model.start.grad)
        assert not torch.equal(before, stored.model.start)
    real, half, whole = slopes
    assert (half - real).norm() > 1e-3
    torch.testing.assert_close(whole - real, 2 * (half - real), atol=1e-5, rtol=1e-3)


def test_a_sequence_that_only_samples_know_is_learnt():
    walked, _ = walks(20, users=40, length=7)
    lists = [[25, 26], [27, 28]] * 30
    stored, vectors = fresh(30)
    plain, _ = fresh(30)
    trained(stored, vectors, training_set(walked, extra=synthetic(lists)), steps=150)
    trained(plain, vectors, training_set(walked), steps=150)

    def place(model, after, item):
        scores = ModelRanker(model, vectors, beta=0.0).scores(histories([[after]]))[0]
        return int((scores > scores[item]).sum())

    for after, item in ((25, 26), (27, 28)):
        assert place(stored, after, item) == 0
        assert place(plain, after, item) > 2
    assert not plain.deltas[25:].any()


# --- in a night -------------------------------------------------------------------------------


def test_what_sequences_teach_is_in_the_challenger_and_nowhere_else(tmp_path):
    shop = Shop.at(tmp_path, finetune={"first_steps": 150, "learning_rate": 1e-2})
    other = Shop.at(tmp_path / "other", finetune={"first_steps": 150, "learning_rate": 1e-2})
    taught = samples(
        *(
            SEQUENCE | {"sample_id": f"q{n}", "context_items": ["i03"], "item_id": "i17"}
            for n in range(60)
        )
    )
    past = past_events(wandering(40))
    inputs = shop.before(past, arms={"control": samples(), "challenger": taught})
    models = shop.finetune(inputs)
    alone = other.finetune(other.before(past))

    control, challenger = (models[f"arm:{arm}:0"] for arm in ("control", "challenger"))
    assert shop.rank_of(inputs, challenger, "i17", after="i03", prefix="") == 0
    assert shop.rank_of(inputs, control, "i17", after="i03", prefix="") > 2
    for arm in ("control", "challenger"):  # no sequence, no difference: bit for bit
        assert_same_weights(shop.model(control), other.model(alone[f"arm:{arm}:0"]))
    assert challenger.stats["steps"] == control.stats["steps"]
