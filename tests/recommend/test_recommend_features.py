"""Whitening: unit features, the same every time, and nothing broken by degenerate catalogues."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.recommend.model.features import Whitening
from shop_by_hand import unit_vectors


def norms(features):
    return np.linalg.norm(features, axis=1)


@pytest.fixture
def cone():
    """400 unit vectors in a narrow cone, as sentence embeddings are."""
    raw = unit_vectors(400, width=16) * np.linspace(1, 0.1, 16, dtype=np.float32)
    raw[:, 0] += 3
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_features_are_unit_and_spread(cone):
    fitted = Whitening.fit(cone, 16)
    features = fitted.apply(cone)
    assert features.shape == (400, 16)
    assert features.dtype == np.float32
    np.testing.assert_allclose(norms(features), 1, atol=1e-5)
    off = ~np.eye(400, dtype=bool)
    assert (cone @ cone.T)[off].mean() > 0.9
    assert abs((features @ features.T)[off].mean()) < 0.02


def test_before_the_norm_the_directions_are_uncorrelated_and_of_one_size(cone):
    fitted = Whitening.fit(cone, 8)
    spread = (cone - fitted.mean) @ fitted.matrix
    np.testing.assert_allclose(np.cov(spread.T), np.eye(8), atol=0.02)


def test_fitting_twice_is_bitwise_equal_and_does_not_depend_on_the_order_of_rows(cone):
    one, again = Whitening.fit(cone, 12), Whitening.fit(cone.copy(), 12)
    np.testing.assert_array_equal(one.matrix, again.matrix)
    shuffled = Whitening.fit(np.random.default_rng(0).permutation(cone), 12)
    # The sign of a direction is fixed: otherwise some columns would be mirrored here.
    np.testing.assert_allclose(shuffled.apply(cone), one.apply(cone), atol=1e-3)


def test_fewer_features_are_the_largest_directions(cone):
    few, all_ = Whitening.fit(cone, 4), Whitening.fit(cone, 16)
    np.testing.assert_allclose(few.matrix, all_.matrix[:, :4], rtol=1e-5)


@pytest.mark.parametrize("texts", [2, 3, 10])
def test_fewer_texts_than_features_give_finite_unit_features(texts):
    vectors = unit_vectors(texts, width=32)
    fitted = Whitening.fit(vectors, 32)
    assert np.isfinite(fitted.matrix).all()
    features = fitted.apply(np.concatenate([vectors, unit_vectors(5, seed=9, width=32)]))
    assert np.isfinite(features).all()
    np.testing.assert_allclose(norms(features), 1, atol=1e-4)
    gram = features[:texts] @ features[:texts].T
    assert (gram[~np.eye(texts, dtype=bool)] < 0.5).all()  # still told apart


@pytest.mark.parametrize("items", [1, 5])
@pytest.mark.parametrize("features", [8, 16])
def test_one_distinct_text_gives_unit_features_and_room_for_later_texts(items, features):
    vectors = np.repeat(unit_vectors(1), items, axis=0)
    fitted = Whitening.fit(vectors, features)
    found = fitted.apply(vectors)
    assert found.shape == (items, features)
    np.testing.assert_allclose(norms(found), 1, atol=1e-5)
    later = fitted.apply(unit_vectors(4, seed=3))
    np.testing.assert_allclose(norms(later), 1, atol=1e-5)
    assert np.abs(later @ later.T - np.eye(4)).max() < 0.99


def test_a_row_at_the_mean_stays_zero(cone):
    fitted = Whitening.fit(cone, 16)
    np.testing.assert_array_equal(fitted.apply(fitted.mean[None, :]), np.zeros((1, 16)))
