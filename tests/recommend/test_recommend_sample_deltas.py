"""What samples may do to a model: place the items they name, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import assert_same_weights, fresh, trained, training_set, walks

from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.deltas import fit_sample_deltas
from nightshift.recommend.training.windows import SampleRows, Windows
from shop_by_hand import histories

ITEMS = 30
OLD = 20
"""Items 0 to 19 have customers, 20 to 29 are known from samples alone."""


def sample_rows(contexts, targets, weight=1.0):
    lengths = np.array([len(context) for context in contexts])
    table = np.full((len(contexts), max(lengths.max(initial=0), 1)), -1, dtype=np.int32)
    for row, context in enumerate(contexts):
        table[row, : len(context)] = context
    weights = np.broadcast_to(np.asarray(weight, np.float32), len(targets)).copy()
    return SampleRows(table, lengths, np.array(targets, np.int32), weights)


CONTEXTS = [[i] for i in range(10)]
TAUGHT = [OLD + i for i in range(10)]


@pytest.fixture(scope="module")
def model():
    walked, _ = walks(OLD, users=40, length=7)
    stored, vectors = fresh(ITEMS)
    trained(stored, vectors, training_set(walked), steps=80)
    return stored, vectors, Windows.cover(walked, 8)


def fit(model, samples, *, steps=60, seed=0, rate=1e-2):
    stored, vectors, windows = model
    features = torch.from_numpy(stored.features(vectors))
    loss = fit_sample_deltas(
        stored, features, windows, samples, steps=steps, rate=rate, seed=seed, label="test"
    )
    return stored.sample_deltas.clone(), loss


def ranks_of_taught(model):
    """How many items stand before the one that the samples put behind each context."""
    stored, vectors, _ = model
    scores = ModelRanker(stored, vectors, beta=0.0).scores(histories(CONTEXTS))
    own = scores[np.arange(10), TAUGHT]
    return (scores > own[:, None]).sum(axis=1).mean()


def test_an_item_comes_to_stand_where_its_samples_put_it(model):
    fit(model, None)
    before = ranks_of_taught(model)
    fit(model, sample_rows(CONTEXTS, TAUGHT))
    assert ranks_of_taught(model) < 3 < before


def test_the_model_and_every_item_without_a_sample_stay_bit_for_bit(model):
    stored, vectors, _ = model
    twin, _ = fresh(ITEMS)
    twin.model.load_state_dict(stored.model.state_dict())
    twin.deltas.copy_(stored.deltas)
    deltas, _ = fit(model, sample_rows(CONTEXTS[:4], TAUGHT[:4]))
    assert_same_weights(stored, twin)
    moved = deltas.abs().sum(dim=1) > 0
    assert moved.nonzero()[:, 0].tolist() == TAUGHT[:4]
    ours, theirs = (ModelRanker(one, vectors, beta=0.0) for one in (stored, twin))
    asked = histories([[3], [5, 6], []])
    untouched = ~moved.numpy()
    assert np.array_equal(ours.scores(asked)[:, untouched], theirs.scores(asked)[:, untouched])


def test_a_state_is_read_from_real_vectors_whatever_samples_say_of_its_items(model):
    stored, vectors, _ = model
    fit(model, None)
    asked = histories([[OLD], [OLD + 1, 3]])
    before = ModelRanker(stored, vectors, beta=0.0).scores(asked)
    fit(model, sample_rows(CONTEXTS, TAUGHT))
    after = ModelRanker(stored, vectors, beta=0.0).scores(asked)
    assert np.array_equal(after[:, :OLD], before[:, :OLD])


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_an_items_heaviest_sample_bounds_how_far_it_moves(model, weight):
    stored, vectors, _ = model
    rows = sample_rows([[0], [1], [2]], [25, 25, 26], weight=[weight, weight / 10, weight / 10])
    deltas, _ = fit(model, rows, steps=200, rate=5e-2)
    with torch.no_grad():
        text = stored.model.text(torch.from_numpy(stored.features(vectors))).norm(dim=1)
    share = deltas.norm(dim=1) / text
    assert share[25] == pytest.approx(weight, rel=1e-4)
    assert share[26] == pytest.approx(weight / 10, rel=1e-4)


def test_real_rows_hold_back_an_item_that_samples_put_everywhere(model):
    """Behind every history at once is no place: customers wanted other items there."""
    everywhere = [[i] for i in range(OLD)]
    fit(model, sample_rows(everywhere, [OLD] * OLD, weight=0.3))
    stored, vectors, _ = model
    scores = ModelRanker(stored, vectors, beta=0.0).scores(histories(everywhere))
    first = scores.argmax(axis=1)
    assert (first == OLD).mean() < 0.5


def test_equal_seeds_fit_equal_deltas_and_the_global_dice_are_not_read(model):
    rows = sample_rows(CONTEXTS, TAUGHT)
    torch.manual_seed(1)
    np.random.seed(1)
    one, loss = fit(model, rows)
    torch.manual_seed(2)
    np.random.seed(2)
    two, again = fit(model, rows)
    assert torch.equal(one, two)
    assert loss == again
    assert not torch.equal(one, fit(model, rows, seed=1)[0])


def test_the_last_nights_deltas_leave_nothing_behind(model):
    """What a retracted or expired sample had moved is back where the text puts it."""
    fit(model, sample_rows(CONTEXTS, TAUGHT))
    deltas, loss = fit(model, sample_rows(CONTEXTS[:1], TAUGHT[:1]))
    assert loss is not None
    assert deltas[TAUGHT[1:]].abs().max() == 0
    for nothing in (None, sample_rows([], [])):
        deltas, loss = fit(model, nothing)
        assert loss is None
        assert deltas.abs().max() == 0


def test_without_real_rows_nothing_is_placed(model):
    stored, vectors, _ = model
    windows = Windows.cover(histories([[], []]), 8)
    deltas, loss = fit((stored, vectors, windows), sample_rows(CONTEXTS, TAUGHT))
    assert loss is None
    assert deltas.abs().max() == 0
