"""The paired bootstrap against scipy's, and against the truth of a simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import bootstrap

from nightshift.intervals import paired_bootstrap, paired_bootstraps


def users(n: int, seed: int, lift: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """NDCG-like values: mostly zero, and an arm that is better by `lift` on average."""
    generator = np.random.default_rng(seed)
    baseline = generator.random(n) * (generator.random(n) < 0.3)
    return baseline * generator.normal(lift, 0.8, n), baseline


def test_the_interval_is_that_of_scipy():
    difference, baseline = users(400, seed=1)
    expected = bootstrap(
        (difference, baseline),
        lambda d, b, axis: d.mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        random_state=2,
    ).confidence_interval

    found = paired_bootstrap(difference, baseline, seed=3)

    width = expected.high - expected.low
    assert found.relative == pytest.approx(difference.mean() / baseline.mean())
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered, trials = 0, 300
    for trial in range(trials):
        interval = paired_bootstrap(*users(300, seed=100 + trial), resamples=500, seed=trial)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.1 <= interval.high
    assert 0.91 <= covered / trials <= 0.985


def test_ten_thousand_resamples_of_five_thousand_users_take_under_a_second():
    difference, baseline = users(5000, seed=4)
    started = time.process_time()
    paired_bootstrap(difference, baseline, seed=5)
    assert time.process_time() - started < 2.0  # 0.25 s when the machine is quiet


def test_same_seed_same_interval():
    assert paired_bootstrap(*users(200, 6), seed=7) == paired_bootstrap(*users(200, 6), seed=7)
    assert paired_bootstrap(*users(200, 6), seed=7) != paired_bootstrap(*users(200, 6), seed=8)


def test_comparisons_side_by_side_equal_each_alone():
    (d, b), (e, c) = users(300, 8), users(300, 9, lift=-0.2)
    both = paired_bootstraps(np.stack([d, e], 1), np.stack([b, c], 1), seed=1)
    assert both[0].low == pytest.approx(paired_bootstrap(d, b, seed=1).low, rel=1e-4)
    assert both[1].high == pytest.approx(paired_bootstrap(e, c, seed=1).high, rel=1e-4)


def test_rows_that_are_missing_in_one_comparison_do_not_count_in_it():
    difference, baseline = users(400, 10)
    wide = np.concatenate([difference, np.full(100, np.nan)])
    interval = paired_bootstrap(wide, np.concatenate([baseline, np.full(100, np.nan)]), seed=1)
    assert interval.n == 400
    assert interval.value == pytest.approx(difference.mean())
    with pytest.raises(ValueError, match="no rows"):
        paired_bootstrap(np.full(3, np.nan), np.ones(3), seed=1)


def test_nights_of_one_user_are_resampled_together():
    """Each user twice with the same figures: no more is known than with each user once."""
    difference, baseline = users(300, 11)
    names = np.array([f"u{i}" for i in range(300)])
    twice = [np.concatenate([x, x]) for x in (difference, baseline, names)]

    once = paired_bootstrap(difference, baseline, seed=12)
    clustered = paired_bootstrap(twice[0], twice[1], clusters=twice[2], seed=12)
    ignored = paired_bootstrap(twice[0], twice[1], seed=12)

    def width(interval):
        return interval.high - interval.low

    assert clustered.n == 300
    assert width(clustered) == pytest.approx(width(once), rel=0.05)
    assert width(ignored) < 0.8 * width(once)


def test_equal_arms_have_an_interval_of_zero():
    interval = paired_bootstrap(np.zeros(200), users(200, 13)[1], seed=1)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)


def test_a_baseline_that_never_hits_has_no_relative_lift_but_a_difference():
    interval = paired_bootstrap(np.full(200, 0.1), np.zeros(200), seed=1)
    assert interval.relative is None
    assert interval.low is None
    assert interval.value_low == pytest.approx(0.1)


def test_a_baseline_that_hardly_ever_hits_has_no_finite_relative_interval():
    baseline = np.zeros(200)
    baseline[0] = 1
    interval = paired_bootstrap(np.full(200, 0.1), baseline, seed=1)
    assert interval.relative == pytest.approx(20)
    assert interval.low is None
    assert interval.value_low > 0


def test_the_detectable_lift_shrinks_with_the_root_of_users():
    small, large = (paired_bootstrap(*users(n, 14), seed=1).detectable for n in (500, 8000))
    assert small is not None
    assert large is not None
    assert small / large == pytest.approx(4, rel=0.25)
