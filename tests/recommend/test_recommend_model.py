"""The model: causal, blind to filling, bounded id deltas, text alone for a new item."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import fresh, model_settings, with_deltas

from nightshift.errors import SettingsError
from nightshift.recommend.model.network import Recommender


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Recommender(model_settings(layers=2), 16).eval()


def states(model, history, lengths):
    with torch.inference_mode():
        return model.users(history, torch.tensor(lengths))


def test_a_later_item_does_not_change_earlier_states(model):
    history = torch.randn(1, 6, 16)
    changed = history.clone()
    changed[0, 4] = 5 * torch.randn(16)
    before, after = states(model, history, [6]), states(model, changed, [6])
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])
    assert not torch.allclose(before[:, 6], after[:, 6])


def test_filling_on_the_right_has_no_influence(model):
    history = torch.randn(1, 3, 16)
    filled = torch.cat([history, 100 * torch.randn(1, 4, 16)], dim=1)
    alone, beside = states(model, history, [3]), states(model, filled, [3])
    torch.testing.assert_close(alone, beside[:, :4], rtol=1e-4, atol=1e-5)


def test_a_row_does_not_depend_on_who_shares_the_batch(model):
    history = torch.randn(3, 5, 16)
    together = states(model, history, [5, 2, 0])
    for row, length in enumerate([5, 2, 0]):
        alone = states(model, history[row : row + 1], [length])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_the_order_of_the_history_matters(model):
    history = torch.randn(1, 4, 16)
    swapped = history[:, [1, 0, 2, 3]]
    assert not torch.allclose(states(model, history, [4])[:, 4], states(model, swapped, [4])[:, 4])


def test_without_any_item_the_start_token_has_a_state(model):
    found = states(model, torch.zeros(2, 0, 16), [0, 0])
    assert found.shape == (2, 1, 16)
    assert torch.isfinite(found).all()
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("bound", [0.5, 1.0, 3.0])
def test_the_id_part_is_bounded_by_a_share_of_the_text_part(bound):
    stored, vectors = fresh(20, id_norm=bound)
    with_deltas(stored, scale=100)
    features = torch.from_numpy(stored.features(vectors))
    with torch.inference_mode():
        text = stored.model.text(features)
        part = stored.model.items(features, stored.deltas) - text
    torch.testing.assert_close(part.norm(dim=1), bound * text.norm(dim=1), rtol=1e-3, atol=1e-6)


def test_a_small_id_part_is_added_as_it_is():
    stored, vectors = fresh(20)
    with_deltas(stored, scale=1e-3)
    features = torch.from_numpy(stored.features(vectors))
    with torch.inference_mode():
        part = stored.model.items(features, stored.deltas) - stored.model.text(features)
    torch.testing.assert_close(part, stored.deltas, rtol=1e-3, atol=1e-6)


def test_a_new_item_is_exactly_its_text():
    stored, vectors = fresh(6)
    with_deltas(stored, rows=[0, 1, 2])
    features = torch.from_numpy(stored.features(vectors))
    with torch.inference_mode():
        items, text = stored.model.items(features, stored.deltas), stored.model.text(features)
    assert torch.equal(items[3:], text[3:])
    assert not torch.equal(items[:3], text[:3])


def test_items_start_as_far_apart_as_their_texts():
    stored, vectors = fresh(30, dim=16)
    features = stored.features(vectors)
    with torch.inference_mode():
        items = stored.model.items(torch.from_numpy(features), stored.deltas).numpy()
    np.testing.assert_allclose(items @ items.T, features @ features.T, atol=1e-4)


def test_the_gradient_of_an_untouched_delta_is_finite():
    stored, vectors = fresh(4)
    delta = stored.deltas.clone().requires_grad_()
    stored.model.items(torch.from_numpy(stored.features(vectors)), delta).sum().backward()
    assert delta.grad is not None
    assert torch.isfinite(delta.grad).all()
    assert delta.grad.abs().sum() > 0


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(SettingsError, match="no multiple of heads"):
        Recommender(model_settings(heads=3), 16)


@pytest.mark.parametrize("layer", ["sasrec", "ligr"])
def test_every_layer_is_causal_and_trains(layer):
    torch.manual_seed(0)
    model = Recommender(model_settings(layer=layer, layers=2), 16).eval()
    history = torch.randn(1, 5, 16)
    changed = history.clone()
    changed[0, 3] += 1
    before, after = states(model, history, [5]), states(model, changed, [5])
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_without_features_an_item_is_its_id():
    model = Recommender(model_settings(features=0), 0).eval()
    ids = 9 * torch.randn(4, 16)
    assert torch.equal(model.items(torch.zeros(4, 0), ids), ids)
