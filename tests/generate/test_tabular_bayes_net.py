"""The Bayesian network finds planted dependencies, and its draws have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from strategy_runs import generate_all

import shop_by_hand as by_hand
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.bayes_net import BayesNet
from nightshift.generate.tabular.bayes import (
    Table,
    in_order,
    information,
    learn_structure,
    learn_table,
)
from nightshift.generate.tabular.discrete import OTHER, UNKNOWN, Cells, Column, discretise
from nightshift.generate.text.topics import topics
from nightshift.lake import Lake

SIZES = {"segment": 3, "noise": 4, "category": 6, "brand": 4}
TIERS = [["segment", "noise"], ["category"], ["brand"]]


def planted(rows: int, seed: int) -> dict[str, np.ndarray]:
    """segment → category → brand, each followed nine times out of ten; noise goes with nothing."""
    rng = np.random.default_rng(seed)
    segment = rng.integers(0, 3, rows)
    category = np.where(
        rng.random(rows) < 0.9, 2 * segment + rng.integers(0, 2, rows), rng.integers(0, 6, rows)
    )
    brand = np.where(rng.random(rows) < 0.9, category % 4, rng.integers(0, 4, rows))
    return {
        "segment": segment,
        "noise": rng.integers(0, 4, rows),
        "category": category,
        "brand": brand,
    }


@pytest.mark.parametrize("score", ["aic-d", "bic-d"])
def test_the_planted_structure_is_found(score: str) -> None:
    found = learn_structure(planted(8000, 0), TIERS, score=score, max_parents=2)
    assert found["category"] == ("segment",)
    assert found["brand"] == ("category",)


def test_nothing_is_found_where_there_is_nothing() -> None:
    rng = np.random.default_rng(0)
    data = {name: rng.integers(0, size, 8000) for name, size in SIZES.items()}
    found = learn_structure(data, TIERS, score="bic-d", max_parents=2)
    assert found == {"category": (), "brand": ()}


def test_tables_are_pgmpys_but_for_the_prior() -> None:
    import pandas as pd
    from pgmpy.estimators import MaximumLikelihoodEstimator
    from pgmpy.models import DiscreteBayesianNetwork

    data = planted(20_000, 1)
    model = DiscreteBayesianNetwork([("segment", "category"), ("category", "brand")])
    frame = pd.DataFrame({name: data[name] for name in ("segment", "category", "brand")})
    theirs = MaximumLikelihoodEstimator(model, frame).estimate_cpd("category").get_values()
    ours = learn_table(data, SIZES, "category", ["segment"])
    assert ours == pytest.approx(theirs.T, abs=1e-3)  # five rows' worth of prior among thousands
    unseen = learn_table({k: v[:0] for k, v in data.items()}, SIZES, "category", ["segment"])
    assert unseen == pytest.approx(np.full((3, 6), 1 / 6))


def test_a_combination_that_was_never_seen_is_drawn_as_a_part_of_it_is() -> None:
    data = planted(5000, 4)
    seen = ~((data["segment"] == 1) & (data["noise"] == 2))
    part = {name: codes[seen] for name, codes in data.items()}
    table = learn_table(part, SIZES, "category", ["segment", "noise"])
    assert table[1, 2] == pytest.approx(learn_table(part, SIZES, "category", ["segment"])[1])
    assert table.sum(axis=-1) == pytest.approx(np.ones((3, 4)))


def test_information_tells_the_planted_column_from_noise() -> None:
    data = planted(5000, 5)
    assert information(data, SIZES, "segment", "category") > 0.6
    assert information(data, SIZES, "noise", "category") < 0.01


def test_draws_have_the_planted_dependence_and_independent_ones_have_not() -> None:
    data = planted(20_000, 2)
    rng = np.random.default_rng(0)

    def share_of_own(parents: dict[str, tuple[str, ...]]) -> float:
        states = {"segment": rng.integers(0, 3, 20_000)}
        for column in in_order(parents):
            table = Table(parents[column], learn_table(data, SIZES, column, parents[column]))
            states[column], _ = table.draw(states, rng.random(20_000))
        own = (states["category"] // 2 == states["segment"]) & (
            states["brand"] == states["category"] % 4
        )
        return float(own.mean())

    held_out = planted(20_000, 3)
    real = (
        (held_out["category"] // 2 == held_out["segment"])
        & (held_out["brand"] == held_out["category"] % 4)
    ).mean()
    assert share_of_own({"category": ("segment",), "brand": ("category",)}) == pytest.approx(
        real, abs=0.02
    )
    assert share_of_own({"category": (), "brand": ()}) < 0.2


def test_a_column_is_drawn_after_its_parents() -> None:
    assert in_order({"b": ("a", "given"), "a": (), "c": ("b",)}) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="a, b"):
        in_order({"a": ("b",), "b": ("a",)})


def test_rare_values_are_other_and_a_single_one_says_nothing() -> None:
    values = pl.Series(["x", "x", "y", "z", None, None, None])
    column = discretise(values, np.ones(7), 2)
    assert column is not None
    assert column.names == (UNKNOWN, "x", OTHER)
    assert column.codes.tolist() == [1, 1, 2, 2, 0, 0, 0]
    assert discretise(pl.Series([None, None], dtype=pl.String), np.ones(2), 5) is None
    assert discretise(pl.Series(["a", "a"]), np.ones(2), 5) is None


def test_items_are_drawn_by_weight_from_their_cell_or_the_next_larger_one() -> None:
    category = Column(np.array([0, 0, 0, 1]), ("a", "b"))
    brand = Column(np.array([0, 0, 1, 1]), ("p", "q"))
    cells = Cells([category, brand], np.array([3.0, 1.0, 5.0, 1.0]))
    numbers = np.random.default_rng(0).random(8000)

    def draw(state: int, of_brand: int) -> np.ndarray:
        asked = [np.full(8000, state), np.full(8000, of_brand)]
        return np.bincount(cells.draw(asked, numbers), minlength=4) / 8000

    assert draw(0, 0) == pytest.approx([0.75, 0.25, 0, 0], abs=0.02)
    assert draw(1, 0) == pytest.approx([0, 0, 0, 1])  # no (b, p): any of category b


def test_topics_part_what_reads_differently() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 64))
    texts = np.repeat(centres, 50, axis=0) + 0.05 * rng.normal(size=(150, 64))
    found = topics(texts.astype(np.float32), 3, seed=0)
    assert [len(set(found[n : n + 50])) for n in (0, 50, 100)] == [1, 1, 1]
    assert len(set(found)) == 3


@pytest.fixture
def shop(tmp_path: Path) -> Sources:
    """Segments that buy in two categories of six each, and there their own brand of two."""
    settings = by_hand.settings_for(tmp_path).with_({"generate": {"bayes_net": {"customers": 600}}})
    lake, rng = Lake.of(settings), np.random.default_rng(0)
    segment = rng.integers(0, 3, 300)
    category = np.where(
        rng.random((300, 25)) < 0.9,
        2 * segment[:, None] + rng.integers(0, 2, (300, 25)),
        rng.integers(0, 6, (300, 25)),
    )
    brand = np.where(
        rng.random((300, 25)) < 0.9, segment[:, None] % 2, rng.integers(0, 2, (300, 25))
    )
    item = 20 * category + 10 * brand + rng.integers(0, 10, (300, 25))
    names = [f"i{n:03}" for n in range(120)]
    lists = {f"u{u:03}": [names[i] for i in row] for u, row in enumerate(item)}
    events = by_hand.events(lists, by_hand.NIGHT.start.replace(month=3))
    snapshot = by_hand.write_snapshot(lake, settings, events, names)
    vectors = by_hand.write_vectors(lake, settings, by_hand.unit_vectors(120))
    sources = Sources(lake, settings, snapshot, vectors)
    codes = np.arange(120)
    sources.snapshot.__dict__["items"] = sources.snapshot.items.with_columns(
        category=pl.Series([f"c{n}" for n in codes // 20]),
        brand=pl.Series([f"b{n}" for n in codes // 10 % 2]),
    )
    sources.snapshot.__dict__["users"] = sources.snapshot.users.with_columns(
        segment=pl.Series([f"s{n}" for n in segment]), events=pl.lit(25, pl.Int64)
    )
    return sources


def test_made_up_customers_have_the_shops_dependencies(shop: Sources) -> None:
    strategy = BayesNet(shop)
    samples = generate_all(strategy, 10**6)
    assert samples.height > 590
    assert "segment" in strategy._tables["brand"].parents  # brand goes by segment
    assert set(strategy._tables["category"].parents) == {"before", "favourite"}
    lineage = pl.DataFrame([json.loads(row) for row in samples["lineage"]])
    segment = lineage["segment"].str.slice(1).cast(pl.Int64).to_numpy()
    entries = (
        samples.with_columns(segment=pl.Series(segment))
        .select("segment", item=pl.concat_list("context_items", "item_id"))
        .explode("item")
        .with_columns(code=pl.col("item").str.slice(1).cast(pl.Int64))
    )
    own_category = (entries["code"] // 20 // 2 == entries["segment"]).mean()
    own_brand = (entries["code"] // 10 % 2 == entries["segment"] % 2).mean()
    assert own_category == pytest.approx(0.9 + 0.1 / 3, abs=0.04)  # 1/3 when drawn independently
    assert own_brand == pytest.approx(0.95, abs=0.04)  # 1/2 when drawn independently
    shares = np.array(list(lineage["segment"].value_counts().sort("segment")["count"]))
    assert shares / shares.sum() == pytest.approx(np.full(3, 1 / 3), abs=0.08)


def test_columns_that_the_shop_lacks_are_left_out(sources: Sources) -> None:
    known = BayesNet(sources)._known
    assert set(known.sizes) == {
        "favourite",
        "before",
        "hour",
        "category",
        "brand",
    }  # no segment, one band


def test_a_shop_without_categories_has_topics_for_them(sources: Sources) -> None:
    sources.snapshot.__dict__["items"] = sources.snapshot.items.with_columns(
        category=pl.lit(None, pl.String)
    )
    strategy = BayesNet(sources)
    assert all(
        name.startswith(("topic", OTHER)) for name in strategy._known.items["category"].names
    )
    assert generate_all(strategy, 10**6).height > 1000


def test_a_small_shop_has_the_obvious_structure(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift.generate.strategies import bayes_net

    monkeypatch.setattr(bayes_net, "_ENOUGH_EVENTS", 10**9)
    strategy = BayesNet(sources)
    strategy.fit()
    parents = {name: table.parents for name, table in strategy._tables.items()}
    assert parents == {"category": ("favourite",), "brand": ("category",), "hour": ()}


def test_where_nobody_buys_twice_no_item_comes_twice(shop: Sources) -> None:
    from dataclasses import replace

    shop.snapshot.__dict__["shop"] = replace(shop.snapshot.shop, repeats=False)
    samples = generate_all(BayesNet(shop), 10**6)
    items = pl.concat_list("context_items", "item_id")
    assert samples.select((items.list.n_unique() == items.list.len()).all()).item()
    assert samples.height > 500
