"""The GAN, the VAE and the sequence model on a shop whose structure can be checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from two_towns import (
    LONGEST,
    make,
    neighbours,
    real_sequences,
    sequences,
    street_steps,
    town_of,
    two_towns,
)

from nightshift import contracts
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.base import Refused
from nightshift.lake import Lake
from nightshift.settings import Settings

COUNT = 800
SMALL: dict[str, dict[str, Any]] = {
    "seq_generator": {"steps": 150, "batch": 64, "learning_rate": 1e-2},
    "behaviour_vae": {"steps": 200, "batch": 64, "learning_rate": 1e-2},
    "behaviour_gan": {"steps": 100, "batch": 48, "hidden": 64},
}
AS_STREETS_GO = {"seq_generator": 0.6, "behaviour_vae": 0.3, "behaviour_gan": 0.2}
"""Neighbours one or two steps along the street: 0.86 in the shop, 0.04 of independent items."""


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    over = {name: {"sequences": COUNT, "length": LONGEST, **own} for name, own in SMALL.items()}
    return two_towns(tmp_path_factory.mktemp("towns"), over=over)


@pytest.fixture(scope="module", params=sorted(SMALL))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(towns: Sources, name: str) -> pl.DataFrame:
    return make(create_strategy(name, towns))


@pytest.fixture(scope="module")
def independent(towns: Sources) -> list[list[str]]:
    """The baseline: real lengths, every item drawn alone."""
    real = real_sequences(towns)
    items = np.concatenate(real)
    rng = np.random.default_rng(1)
    return [list(rng.choice(items, min(len(one), LONGEST))) for one in real]


def test_customers_buy_in_one_town_and_walk_along_its_street(
    made: pl.DataFrame, independent: list[list[str]], name: str
) -> None:
    figures = []
    for found in (sequences(made), independent):
        before, after = neighbours(found)
        together = town_of(before) == town_of(after)
        step = street_steps(before, after)
        figures.append((together.mean(), (together & (step >= 1) & (step <= 2)).mean()))
    (town, street), (town_alone, street_alone) = figures
    assert town_alone < 0.6
    assert street_alone < 0.1
    assert town > 0.9
    assert street > AS_STREETS_GO[name]


def test_lengths_are_those_of_customers(towns: Sources, made: pl.DataFrame) -> None:
    lengths = np.array([len(one) for one in sequences(made)])
    real = np.array([min(len(one), LONGEST) for one in real_sequences(towns)])
    shares = [np.bincount(some, minlength=LONGEST + 1) / len(some) for some in (lengths, real)]
    assert lengths.min() >= 2
    assert lengths.max() == LONGEST
    assert np.abs(np.cumsum(shares[0] - shares[1])).max() < 0.1


def test_items_come_as_often_as_they_are_had(towns: Sources, made: pl.DataFrame) -> None:
    ids = towns.snapshot.items["item_id"].to_list()
    found, real = (
        np.bincount([ids.index(item) for one in some for item in one], minlength=len(ids))
        for some in (sequences(made), (one[:LONGEST] for one in real_sequences(towns)))
    )
    found, real = found / found.sum(), real / real.sum()
    off, off_when_all_are_alike = (np.abs(one - real).sum() / 2 for one in (found, 1 / len(ids)))
    assert off < 0.6 * off_when_all_are_alike
    assert (found > 0).mean() > 0.9  # no item is forgotten


def test_nobody_is_copied(towns: Sources, made: pl.DataFrame) -> None:
    had = {
        tuple(one[start : start + length])
        for one in real_sequences(towns)
        for length in range(3, LONGEST + 1)
        for start in range(len(one) - length + 1)
    }
    found = [tuple(one) for one in sequences(made) if len(one) >= 3]
    assert found
    assert not had.intersection(found)


def test_a_sample_is_one_of_nobody(made: pl.DataFrame, name: str) -> None:
    assert made.height > 0.8 * COUNT
    assert made["user_key"].null_count() == made.height
    assert made["kind"].unique().to_list() == ["sequence"]
    assert made["label"].unique().to_list() == [1.0]
    assert made["text"].null_count() == made.height
    assert all(len(one) == len(set(one)) for one in sequences(made))  # this shop does not repeat
    score = "critic" if name == "behaviour_gan" else "log_probability"
    scores = [json.loads(text)[score] for text in made["scores"]]
    assert np.isfinite(scores).all()
    assert np.std(scores) > 0
    segments = {json.loads(text)["condition"]["segment"] for text in made["lineage"]}
    assert segments == {"lives north", "lives south"}


def test_a_condition_is_kept(made: pl.DataFrame) -> None:
    favourite = [json.loads(text)["condition"]["favourite"] for text in made["lineage"]]
    wanted = [0 if "north" in one else 1 for one in favourite]
    town = [town_of(np.array(one)).mean().round() for one in sequences(made)]
    assert np.mean(np.array(wanted) == np.array(town)) > 0.9


def test_chunks_do_not_matter(towns: Sources, name: str, made: pl.DataFrame) -> None:
    strategy = create_strategy(name, towns)
    wishes = strategy.plan(COUNT)
    strategy.fit()
    parts = [wishes.gather_every(7, offset).head(30) for offset in range(7)]
    again = pl.concat([pl.DataFrame(strategy.generate(part).samples) for part in parts])
    assert again.height > 100
    assert set(again["sample_id"]) <= set(made["sample_id"])
    assert strategy.generate(wishes).samples.schema == contracts.SAMPLES


@pytest.mark.usefixtures("made")
def test_what_was_learnt_is_kept(
    towns: Sources, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = create_strategy(name, towns)
    monkeypatch.setattr(strategy, "learn", lambda: pytest.fail("it is learnt already"))
    strategy.fit()


def test_another_seed_makes_others_up(towns: Sources) -> None:
    first = create_strategy("seq_generator", towns)
    wishes = first.plan(COUNT)
    first.fit()
    one = first.generate(wishes).samples["sample_id"].to_pylist()
    first.seed = 1  # what was learnt stays
    other = first.generate(wishes).samples["sample_id"].to_pylist()
    assert len(set(one) & set(other)) < 0.5 * len(one)


def test_rare_customers_can_be_drawn_more_often(towns: Sources) -> None:
    def shares(rare: float) -> pl.Series:
        changed = towns.settings.with_({"generate": {"seq_generator": {"rare": rare, "steps": 1}}})
        strategy = create_strategy("seq_generator", _with(towns, changed))
        rows = make(strategy)["lineage"].str.json_decode(
            pl.Struct({"condition": pl.Struct({"segment": pl.String, "favourite": pl.String})})
        )
        return rows.struct["condition"].value_counts()["count"] / len(rows)

    assert shares(1.0).std() < 0.6 * shares(0.0).std()


def test_a_broken_generator_is_found_and_refused(
    towns: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"learning_rate": 30.0, "decoding": "nearest", "steps": 60}
    changed = towns.settings.with_({"generate": {"behaviour_gan": broken}})
    sources = _with(towns, changed)
    with pytest.raises(Refused, match=r"collapsed at its best: distinct 0\.\d+"):
        create_strategy("behaviour_gan", sources).fit()
    # Another shard says the same without learning it again.
    strategy = create_strategy("behaviour_gan", sources)
    monkeypatch.setattr(strategy, "learn", lambda: pytest.fail("it is learnt already"))
    with pytest.raises(Refused):
        strategy.fit()


def test_a_shop_with_few_customers_lacks_them(tmp_path: Path, name: str) -> None:
    small = two_towns(tmp_path, customers=15)
    assert "only 15 customers" in str(create_strategy(name, small).missing())


def _with(sources: Sources, settings: Settings) -> Sources:
    partition = sources.snapshot.manifest.partition
    lake = Lake.of(settings)
    return Sources(lake, settings, lake.get("snapshot", partition), lake.get("vectors", partition))
