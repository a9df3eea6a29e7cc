"""The hard stop: a shard ends at its part of the budget, and a rerun ends at the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import budget_strategies
import polars as pl
import pytest
from budget_strategies import Learner, Other, Writer

from factories import NIGHT
from nightshift import stages
from nightshift.errors import EngineError, SettingsError
from nightshift.generate.shard import OVER_BUDGET
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.settings import Settings

ITEMS, CHUNK = 298, 8
PRICES = {"models": {"made-up": {"input": 10.0, "output": 100.0}}}
"""A sample of Writer: 100 tokens in, 10 out: 0.001 + 0.001."""


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    budget_strategies.install(monkeypatch)
    trace = tmp_path / "trace"
    trace.touch()
    monkeypatch.setenv(budget_strategies.TRACE, str(trace))
    for cls in (Writer, Other, Learner):
        for name in ("says", "pause", "fails_at", "refuses", "SECONDS", "TOKENS"):
            monkeypatch.setattr(cls, name, getattr(Writer, name))
    return trace


def with_(settings: Settings, *names: str, budget: dict[str, Any], **generate: Any) -> Settings:
    own = {"strategies": list(names), "chunk_targets": CHUNK, "shard_targets": 80, **generate}
    wide = {"samples": 10_000, "tokens": 10_000, "seconds": 1000.0}
    return settings.with_({"generate": own | {"budget": wide | budget}, "cost": PRICES})


def run_all(settings: Settings, **options: bool) -> dict[str, Manifest]:
    plan = stages.run("plan", NIGHT, settings).manifest
    return {"plan": plan} | {
        shard: stages.run("generate", NIGHT, settings, {"shard": shard}, **options).manifest
        for shard in plan.stats["shards"]
    }


def document(settings: Settings) -> dict[str, Any]:
    lake = Lake.of(settings)
    return lake.read_json(lake.get("plan", f"night={NIGHT.key}"), "plan.json")


def shards_of(done: dict[str, Manifest]) -> dict[str, Manifest]:
    return {name: one for name, one in done.items() if name != "plan"}


def test_what_is_priced_honestly_is_never_stopped(settings: Settings) -> None:
    settings = with_(settings, "writer", budget={"tokens": 1000})

    done = run_all(settings)

    assert done["plan"].stats["samples"] == {"writer": 100}
    for one in shards_of(done).values():
        assert one.stats["stopped"] is None
        assert OVER_BUDGET not in one.stats["dropped"]
    assert sum(one.stats["tokens"] for one in shards_of(done).values()) == 1000


def test_who_writes_more_than_it_said_stops_within_a_chunk_of_its_part(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "says", 40)
    settings = with_(settings, "writer", budget={"tokens": 3000})

    done = run_all(settings)
    shards = shards_of(done)

    allowed = document(settings)["allowances"]
    assert len(shards) > 1
    assert sum(one["tokens"] for one in allowed.values()) <= 3000
    for name, one in shards.items():
        over = one.stats["tokens"] - allowed[name]["tokens"]
        assert 0 <= over < 40 * 2 * CHUNK  # no chunk is twice the size of their mean
        assert one.stats["stopped"].startswith("budget: tokens, after")
        planned = allowed[name]["samples"]
        assert (
            one.stats["made"] + one.stats["dropped"][OVER_BUDGET]
            == planned
            == one.rows + (one.stats["dropped"][OVER_BUDGET])
        )
    # What is left undone is not made by others: a quarter of the samples, about.
    made = sum(one.stats["made"] for one in shards.values())
    assert made == pytest.approx(300 / 4, abs=len(shards) * 2 * CHUNK)

    again = run_all(settings, force=True)
    assert {n: m.digest for n, m in again.items()} == {n: m.digest for n, m in done.items()}
    for path in list(lake.stored("chunks")):
        lake.delete(path.path)
    anew = run_all(settings, force=True)
    assert {n: m.digest for n, m in anew.items()} == {n: m.digest for n, m in done.items()}


def test_money_stops_as_tokens_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_(settings, "writer", budget={"money": 0.2})
    honest = run_all(settings)
    assert honest["plan"].stats["samples"] == {"writer": 100}  # 0.002 each
    assert document(settings)["cut"][0]["why"] == "money"
    assert all(one.stats["stopped"] is None for one in shards_of(honest).values())

    monkeypatch.setattr(Writer, "says", 110)  # 0.001 in, 0.011 out
    settings = with_(settings, "writer", budget={"money": 0.2}, seed=1)
    dear = run_all(settings)

    allowed = document(settings)["allowances"]
    for name, one in shards_of(dear).items():
        money = one.stats["tokens"] * 1e-4 + one.stats["prompt_tokens"] * 1e-5
        assert one.stats["stopped"].startswith("budget: money")
        assert 0 <= money - allowed[name]["money"] < 0.012 * 2 * CHUNK
    assert sum(one["money"] for one in allowed.values()) <= 0.2 + 1e-6


def test_seconds_stop_and_a_rerun_in_the_same_lake_stops_at_the_same_place(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch, ours: Path
) -> None:
    """A chunk counts at what it took when it was made: else a rerun would go further."""
    monkeypatch.setattr(Writer, "pause", 0.05)
    settings = with_(settings, "writer", budget={"seconds": 0.6}, shard_targets=1000)

    done = run_all(settings)
    [(name, first)] = shards_of(done).items()
    made = ours.read_text().count("chunk")
    assert first.stats["stopped"].startswith("budget: seconds")
    assert 0 < first.stats["made"] < ITEMS

    again = stages.run("generate", NIGHT, settings, {"shard": name}, force=True).manifest

    assert ours.read_text().count("chunk") == made  # nothing was made that was there
    assert again.digest == first.digest
    assert again.run["found"] == again.run["chunks"]

    wider = with_(settings, "writer", budget={"seconds": 60.0}, shard_targets=1000)
    more = run_all(wider)[name]
    assert more.stats["stopped"] is None
    assert more.stats["made"] == ITEMS
    total = lake.read(more, "samples.parquet")["sample_id"]
    assert set(lake.read(first, "samples.parquet")["sample_id"]) < set(total)
    assert more.run["found"] == made  # what was made is not made twice


def test_each_shard_has_its_part_and_their_sum_is_the_budget(settings: Settings) -> None:
    settings = with_(
        settings, "writer", "other", "text_neighbours", budget={"seconds": 100.0, "tokens": 5000}
    )
    run_all(settings)

    allowed = document(settings)["allowances"]
    assert sum(one["seconds"] for one in allowed.values()) == pytest.approx(100.0, abs=0.01)
    assert 4990 <= sum(one["tokens"] for one in allowed.values()) <= 5000
    assert all(one["tokens"] == 0 for n, one in allowed.items() if n.startswith("text_nei"))
    assert {one["money"] for one in allowed.values()} == {None}


def test_a_strategy_that_writes_though_it_said_it_does_not_ends_after_a_chunk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "TOKENS", 0)
    settings = with_(settings, "writer", budget={}, shard_targets=1000)

    [shard] = shards_of(run_all(settings)).values()

    assert shard.stats["stopped"].startswith("budget: tokens, after 1 of")


def test_learning_is_paid_before_the_first_sample(settings: Settings) -> None:
    enough = with_(settings, "learner", "writer", budget={"seconds": 3.0, "tokens": 100_000})
    run_all(enough)
    assert document(enough)["estimate"]["learner"]["fit_seconds"] == 2.0
    assert sum(one["seconds"] for one in document(enough)["allowances"].values()) < 1.0001

    short = with_(settings, "learner", "writer", budget={"seconds": 1.5, "tokens": 100_000})
    done = run_all(short)
    assert done["plan"].stats["samples"]["learner"] == 0
    assert done["plan"].stats["samples"]["writer"] == ITEMS
    [cut] = document(short)["cut"]
    assert (cut["strategy"], cut["why"]) == ("learner", "seconds")


def test_shares_of_the_settings_replace_a_strategys_own(settings: Settings) -> None:
    even = with_(settings, "writer", "other", budget={"tokens": 1000})
    assert run_all(even)["plan"].stats["samples"] == {"writer": 50, "other": 50}

    tilted = with_(settings, "writer", "other", budget={"tokens": 1000}, shares={"writer": 4})
    assert run_all(tilted)["plan"].stats["samples"] == {"writer": 80, "other": 20}

    with pytest.raises(SettingsError, match=r"generate\.shares names 'gan'"):
        run_all(with_(settings, "writer", budget={}, shares={"gan": 2}))


def test_money_without_a_price_is_an_error(settings: Settings) -> None:
    limited = settings.with_({"generate": {"budget": {"money": 1.0}}})

    with pytest.raises(SettingsError, match="no price") as error:
        stages.run("plan", NIGHT, limited)

    assert "cost.models" in error.value.hint


def test_prices_are_part_of_a_key_only_where_money_is_limited(settings: Settings) -> None:
    free = with_(settings, "writer", budget={})
    first = run_all(free)
    dearer = free.with_({"cost": {"gpu_hour": 9.0}})
    assert not stages.run("plan", NIGHT, dearer).worked

    limited = with_(settings, "writer", budget={"money": 0.2})
    assert stages.run("plan", NIGHT, limited).manifest.key != first["plan"].key
    doubled = {"models": {"made-up": {"input": 20.0, "output": 200.0}}}
    assert stages.run("plan", NIGHT, limited.with_({"cost": doubled})).manifest.stats[
        "samples"
    ] == {"writer": 50}


def test_a_refusal_is_told_with_its_reason_also_from_the_lake(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "refuses", "its judgement is chance")
    settings = with_(settings, "writer", budget={}, shard_targets=1000)

    for options in ({}, {"force": True}):
        [shard] = shards_of(run_all(settings, **options)).values()
        assert shard.stats["refused"] == "its judgement is chance"
        assert shard.stats["dropped"] == {"refused": ITEMS}


def test_an_engine_that_dies_in_mid_shard_leaves_its_chunks_and_the_rerun_goes_on(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch, ours: Path
) -> None:
    settings = with_(settings, "writer", budget={}, shard_targets=1000)
    plan = stages.run("plan", NIGHT, settings).manifest
    [name] = plan.stats["shards"]
    monkeypatch.setattr(Writer, "fails_at", 3)

    with pytest.raises(EngineError, match="died"):
        stages.run("generate", NIGHT, settings, {"shard": name})

    finished = len(list(lake.stored("chunks")))
    assert finished == 3
    assert lake.find("shard", f"night={NIGHT.key}/shard={name}") is None
    monkeypatch.setattr(Writer, "fails_at", None)
    ours.write_text("")
    resumed = stages.run("generate", NIGHT, settings, {"shard": name}).manifest
    total = lake.read(plan, "targets.parquet")["chunk"].n_unique()
    assert ours.read_text().count("chunk") == total - finished
    assert (resumed.run["found"], resumed.run["chunks"]) == (finished, total)
    assert resumed.stats["made"] == ITEMS


def test_a_strategy_that_is_lost_does_not_end_the_others(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All shards of one, and one of many of another: the first is lost, the second is not."""
    settings = with_(settings, "writer", "other", budget={}, shard_targets=20, chunk_targets=4)
    plan = stages.run("plan", NIGHT, settings).manifest
    for shard in plan.stats["shards"]:
        broken = shard.startswith("other") or shard == "writer-001"
        monkeypatch.setattr(Writer, "fails_at", 0 if broken else None)
        monkeypatch.setattr(Other, "fails_at", 0 if broken else None)
        if broken:
            with pytest.raises(EngineError):
                stages.run("generate", NIGHT, settings, {"shard": shard})
        else:
            stages.run("generate", NIGHT, settings, {"shard": shard})

    gathered = stages.run("gather", NIGHT, settings).manifest

    number = sum(shard.startswith("other") for shard in plan.stats["shards"])
    assert gathered.stats["lost"] == {
        "other": f"{number} of {number} shards are missing, the failure budget is 20%"
    }
    assert gathered.stats["skipped"] is None
    assert set(gathered.stats["made"]) == {"writer"}
    assert 200 < gathered.rows < ITEMS

    strict = settings.with_({"generate": {"lost_strategies": 0.4}})
    gathered = stages.run("gather", NIGHT, strict).manifest
    assert "1 of 2 strategies are lost (other: " in gathered.stats["skipped"]
    assert gathered.rows == 0
    assert lake.scan(gathered, "shards/").collect().is_empty()

    # The shards are retried alone, and everything is there.
    monkeypatch.setattr(Writer, "fails_at", None)
    monkeypatch.setattr(Other, "fails_at", None)
    for shard in gathered.stats["failed"]:
        stages.run("generate", NIGHT, settings, {"shard": shard})
    gathered = stages.run("gather", NIGHT, settings).manifest
    assert gathered.stats["failed"] == []
    assert gathered.stats["lost"] == {}
    assert gathered.rows == 2 * ITEMS
    shards = lake.scan(gathered, "shards/").select(pl.col("strategy").value_counts()).collect()
    assert shards.height == 2
