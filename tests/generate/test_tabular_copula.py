"""The Gaussian copula, the tilt, and customers realised from their numbers."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats
from strategy_runs import generate_all

from nightshift.generate.hashing import streams, uniform
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.copula import Copula
from nightshift.generate.tabular import tilting
from nightshift.generate.tabular.customer_numbers import ItemNumbers, describe, names_of, timing
from nightshift.generate.tabular.gaussian_copula import GaussianCopula, nearest_correlation
from nightshift.generate.tabular.realise import Realiser
from nightshift.histories import Histories

DISCRETE = np.array([False, True, False, True])


def joint(rows: int, seed: int) -> np.ndarray:
    """A skewed one, counts, one with a bump at either end, a flag: all of them dependent."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(
        nearest_correlation(
            np.array(
                [[1, 0.8, -0.6, 0.5], [0.8, 1, -0.4, 0.6], [-0.6, -0.4, 1, 0], [0.5, 0.6, 0, 1]]
            )
        )
    )
    level = stats.norm.cdf(rng.standard_normal((rows, 4)) @ root.T)
    return np.column_stack(
        [
            stats.lognorm.ppf(level[:, 0], 1.0),
            stats.poisson.ppf(level[:, 1], 6),
            stats.beta.ppf(level[:, 2], 0.5, 0.5),
            (level[:, 3] > 0.7).astype(float),
        ]
    )


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """What a copula of 3,000 rows draws, and what drawing each column alone does."""
    rng = np.random.default_rng(1)
    seen, groups = joint(3000, 0), np.zeros(3000, dtype=np.int64)
    copula = GaussianCopula.fit(seen, groups, DISCRETE)
    alone = GaussianCopula(np.eye(4), copula.values, copula.indptr, DISCRETE)
    numbers = rng.random((5000, 4))
    zeros = np.zeros(5000, dtype=np.int64)
    return copula.draw(numbers, zeros), alone.draw(numbers, zeros)


def test_margins_are_those_that_were_seen(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    held_out = joint(5000, 2)
    for column in range(4):
        assert stats.ks_2samp(drawn[0][:, column], held_out[:, column]).statistic < 0.035
    assert set(np.unique(drawn[0][:, 3])) == {0.0, 1.0}
    assert (drawn[0][:, 1] == np.rint(drawn[0][:, 1])).all()
    assert len(np.unique(drawn[0][:, 0])) > 4000  # in between what was seen, too


def test_dependence_is_kept_where_columns_drawn_alone_lose_it(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    def off(values: np.ndarray) -> float:
        found = stats.spearmanr(values).statistic - stats.spearmanr(joint(5000, 2)).statistic
        return float(np.abs(found[np.triu_indices(4, 1)]).max())

    assert off(drawn[0]) < 0.1
    assert off(drawn[1]) > 0.5


def test_each_group_has_margins_of_its_own() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 500)
    values = rng.normal(size=(1000, 2)) + 100.0 * groups[:, None]
    values[:, 1] = values[:, 0] + rng.normal(size=1000) * 0.1
    order = rng.permutation(1000)
    copula = GaussianCopula.fit(values[order], groups[order], np.zeros(2, dtype=bool))
    found = copula.draw(rng.random((400, 2)), np.repeat([0, 1], 200))
    assert found[:200].max() < 10 < 90 < found[200:].min()
    for half in (found[:200], found[200:]):
        assert np.corrcoef(half.T)[0, 1] > 0.95


def test_what_is_no_correlation_becomes_the_nearest_one() -> None:
    impossible = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    found = nearest_correlation(impossible)
    assert np.linalg.eigvalsh(found).min() > 0
    assert np.diag(found) == pytest.approx(1)
    assert (np.sign(found) == np.sign(impossible)).all()
    fine = np.array([[1, 0.3], [0.3, 1]])
    assert nearest_correlation(fine) == pytest.approx(fine)


def test_a_tilt_meets_its_means_and_moves_nothing_else() -> None:
    rng = np.random.default_rng(3)
    features = rng.standard_normal((2000, 3))
    weights = rng.dirichlet(np.ones(2000))
    features -= weights @ features
    features /= np.sqrt(weights @ features**2)
    means = np.array([[0.0, 0, 0], [0.8, 0, 0], [0, -0.5, 0.5]])
    tilt = tilting.solve(features, weights, means, np.full(3, 1e4))
    shares = tilting.tilted(features, weights, tilt)
    assert shares @ features == pytest.approx(means, abs=5e-3)
    assert shares[0] == pytest.approx(weights, abs=1e-6)
    few = tilting.solve(features, weights, means, np.full(3, 2.0))
    assert (np.linalg.norm(few[1:], axis=1) < np.linalg.norm(tilt[1:], axis=1)).all()
    beyond = tilting.solve(features, weights, np.array([[50.0, 0, 0]]), np.array([5.0]))
    assert np.isfinite(beyond).all()
    items = tilting.draw(shares[1:2], rng.random((1, 50_000)))[0]
    often = np.bincount(items, minlength=2000) / 50_000
    assert np.abs(often - shares[1]).sum() < 0.2


@pytest.fixture
def known() -> ItemNumbers:
    items = pl.DataFrame(
        {
            "price": [1.0, 10.0, None, 100.0],
            "events": [0, 9, 99, 9],
            "category": ["a", "b", None, "a"],
        }
    )
    return ItemNumbers.of(items, np.array([[0.0], [1.0], [2.0], [3.0]]))


def test_customers_are_described_by_what_they_took(known: ItemNumbers) -> None:
    names = names_of(known, repeats=True)
    assert names == ("length", "repeat_share", "variety", "popularity", "price", "taste_0")
    found = describe(np.array([[0, 3, 0, -1], [1, 2, -1, -1]], dtype=np.int32), known, repeats=True)
    row = dict(zip(names, found[0], strict=True))
    assert row["length"] == 3
    assert row["repeat_share"] == pytest.approx(1 / 3)
    assert row["variety"] == pytest.approx(0)  # all of category a
    assert row["popularity"] == pytest.approx(np.log(10) / 3)
    assert row["price"] == pytest.approx(np.log(100) / 3)
    assert row["taste_0"] == pytest.approx(1.0)
    other = dict(zip(names, found[1], strict=True))
    assert other["variety"] == pytest.approx(np.log(2))
    assert other["price"] == pytest.approx((np.log(10) + np.log(10)) / 2)  # the shop's mean


def test_a_shop_without_prices_categories_or_repeats_has_no_such_numbers() -> None:
    nothing = pl.Series([None, None])
    items = pl.DataFrame(
        {"price": nothing.cast(pl.Float64), "events": [1, 2], "category": nothing.cast(pl.String)}
    )
    known = ItemNumbers.of(items, np.zeros((2, 1)))
    assert names_of(known, repeats=False) == ("length", "popularity", "taste_0")


def test_timing_is_in_days_and_hours() -> None:
    hour = 3_600_000_000
    times = np.array([10, 34, 58, 5]) * hour
    histories = Histories(np.array([0, 3, 4]), np.zeros(4, dtype=np.int32), times)
    found = timing(histories, np.array([1, 3]), np.array([3, 4]))
    assert found[0] == pytest.approx([np.log(3), np.log1p(1.0), 10.0])
    assert found[1] == pytest.approx([0.0, 0.0, 5.0])


def test_a_realised_history_has_the_length_the_repeats_and_the_means() -> None:
    rng = np.random.default_rng(0)
    items = pl.DataFrame(
        {
            "price": np.exp(rng.normal(size=800)),
            "events": rng.integers(1, 50, 800),
            "category": [f"c{n % 7}" for n in range(800)],
        }
    )
    known = ItemNumbers.of(items, rng.normal(size=(800, 2)))
    weights = items["events"].to_numpy() / items["events"].sum()
    names = names_of(known, repeats=True)
    wanted = np.column_stack(
        [
            rng.integers(2, 11, 300),
            rng.choice([0, 0.5], 300),
            np.full(300, 1.0),
            np.full(300, 3.0),
            rng.normal(size=300),
            rng.normal(size=(300, 2)) * 0.7,
        ]
    )
    realiser = Realiser(known, weights, np.ones(len(names)), repeats=True, width=10)
    found, distance = realiser.realise(
        wanted, streams(np.arange(300, dtype=np.uint64), 1)[:, 0], tries=8
    )
    got = describe(found, known, repeats=True)
    assert (got[:, 0] == wanted[:, 0]).all()
    again = np.minimum(np.rint(wanted[:, 1] * wanted[:, 0]), wanted[:, 0] - 1) / wanted[:, 0]
    assert got[:, 1] == pytest.approx(again)
    for column in (names.index("price"), names.index("taste_0"), names.index("taste_1")):
        assert np.corrcoef(got[:, column], wanted[:, column])[0, 1] > 0.8
    assert np.median(distance) < 0.5
    alone, _ = realiser.realise(
        wanted[:5], streams(np.arange(5, dtype=np.uint64), 1)[:, 0], tries=8
    )
    assert (alone == found[:5]).all()  # whoever else is realised beside them


def test_the_customers_numbers_are_what_their_histories_say(sources: Sources) -> None:
    sources.settings = sources.settings.with_({"generate": {"copula": {"customers": 300}}})
    strategy = Copula(sources)
    samples = generate_all(strategy, 10**6)
    assert samples.height > 290
    scores = pl.DataFrame([json.loads(row) for row in samples["scores"]])
    code = dict(sources.snapshot.item_codes.select("item_id", "item").iter_rows())
    taste = strategy._realiser._known.values[:, -8:]
    first = np.array(
        [
            taste[[code[i] for i in (*context, item)]].mean(axis=0)
            for context, item in samples.select("context_items", "item_id").iter_rows()
        ]
    )
    drawn = scores.select(f"taste_{n}" for n in range(8)).to_numpy()
    agreement = [np.corrcoef(first[:, n], drawn[:, n])[0, 1] for n in range(3)]
    assert min(agreement) > 0.5
    length = samples["context_items"].list.len().to_numpy() + 1
    assert (length == np.rint(scores["length"].to_numpy())).mean() > 0.9
    assert uniform(streams(np.arange(2, dtype=np.uint64), 3)).shape == (2, 3)


def test_too_small_a_shop_is_said_to_lack_customers(sources: Sources) -> None:
    strategy = Copula(sources)
    assert strategy.missing() is None
    sources.snapshot.__dict__["users"] = sources.snapshot.users.head(10)
    assert "10 customers" in (Copula(sources).missing() or "")
