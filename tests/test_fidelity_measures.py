"""The measures know real from made up, and which way is better."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.fidelity_measures import Catalogue, Sequences, independent, measure

ITEMS, GROUPS = 60, 6


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    rng = np.random.default_rng(0)
    group = np.arange(ITEMS) // (ITEMS // GROUPS)
    taste = rng.normal(size=(GROUPS, 6))[group] + 0.1 * rng.normal(size=(ITEMS, 6))
    return Catalogue(group, rng.random(ITEMS), rng.random(ITEMS), taste)


def shoppers(n: int, seed: int) -> Sequences:
    """Customers who stay in one group and walk through it in order."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 10, n)
    group, first = rng.integers(0, GROUPS, n), rng.integers(0, 10, n)
    rows = np.repeat(np.arange(n), lengths)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = group[rows] * 10 + (first[rows] + place) % 10
    return Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)


def test_other_real_customers_look_real_and_independent_items_do_not(catalogue: Catalogue) -> None:
    real, others = shoppers(600, 1), shoppers(600, 2)
    baseline = independent(others, others.lengths, ITEMS, seed=3)
    good = measure(others, real, catalogue, seed=0)
    bad = measure(baseline, real, catalogue, seed=0)
    assert good["auc"] == pytest.approx(0.5, abs=0.08)
    assert bad["auc"] > 0.95
    assert good["pairs_known"] == 1 > bad["pairs_known"]
    for name in ("correlation", "category_pairs", "transitions_js", "figures_ks"):
        assert good[name] < bad[name] / 2, name
    # The baseline has the marginals by construction: they must not tell it apart.
    assert bad["item_js"] == pytest.approx(good["item_js"], abs=0.02)
    assert bad["length_ks"] == pytest.approx(good["length_ks"], abs=0.08)


def test_a_collapsed_generator_shows(catalogue: Catalogue) -> None:
    real = shoppers(300, 1)
    one = Sequences(real.indptr, np.zeros_like(real.items))
    found = measure(one, real, catalogue, seed=0)
    assert found["distinct"] < 0.05
    assert found["coverage"] < 0.05
    assert found["item_js"] > 0.8


def test_pairs_do_not_run_over_the_end_of_a_sequence() -> None:
    before, after = Sequences(np.array([0, 2, 3, 6]), np.array([1, 2, 3, 4, 5, 6])).pairs()
    assert list(zip(before.tolist(), after.tolist(), strict=True)) == [(1, 2), (4, 5), (5, 6)]


def test_chosen_sequences_come_in_their_order() -> None:
    some = Sequences(np.array([0, 2, 3, 6]), np.array([1, 2, 3, 4, 5, 6])).take(np.array([2, 0]))
    assert some.items.tolist() == [4, 5, 6, 1, 2]
    assert some.indptr.tolist() == [0, 3, 5]
