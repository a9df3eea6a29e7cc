import numpy as np
import polars as pl
import pytest

from conftest import sources_of
from factories import NIGHT
from nightshift import contracts, stages
from nightshift.errors import EngineError, SettingsError
from nightshift.generate.chunks import chunk_numbers
from nightshift.generate.engines.http_client import JsonClient
from nightshift.generate.plan import plan_night
from nightshift.generate.shortage import items_by_shortage
from nightshift.generate.sources import Sources
from nightshift.lake import Lake
from nightshift.settings import Settings


def planned(lake: Lake, settings: Settings, **changes) -> tuple[pl.DataFrame, dict, dict]:
    settings = settings.with_({"generate": changes})
    manifest = stages.run("plan", NIGHT, settings).manifest
    return (
        lake.read(manifest, "targets.parquet"),
        lake.read_json(manifest, "plan.json"),
        manifest.stats,
    )


def test_the_shortest_of_events_come_first(lake: Lake, settings: Settings) -> None:
    targets, plan, stats = planned(
        lake,
        settings,
        strategies=["text_neighbours"],
        tail_events=1000,
        budget={"samples": 600},
    )
    assert targets.to_arrow().cast(contracts.TARGETS).schema == contracts.TARGETS
    items = lake.read(lake.get("snapshot", f"night={NIGHT.key}"), "items.parquet")
    chosen = targets.join(items, on="item_id")
    left_out = items.join(targets, on="item_id", how="anti")
    assert left_out.height > 0
    assert chosen.filter("withheld").height == items.filter("withheld").height
    assert chosen["events"].max() <= left_out["events"].min()
    assert targets["budget"].sum() == 600 == stats["samples"]["text_neighbours"]
    assert plan["cut"] == [
        {
            "strategy": "text_neighbours",
            "wanted": 3 * items.height,
            "planned": 600,
            "why": "samples",
        }
    ]


def test_shortage_says_how_far_below_the_tail(sources: Sources) -> None:
    ranked = items_by_shortage(sources).join(
        sources.snapshot.items.select("item_id", "events", "withheld"), on="item_id"
    )
    tail = sources.settings.generate.tail_events
    cold = ranked.filter(pl.col("events") == 0)
    assert cold["shortage"].unique().to_list() == [1.0]
    assert (ranked.filter(pl.col("events") > tail)["shortage"] == 0).all()
    assert (ranked.filter(pl.col("events") <= tail)["shortage"] > 0).all()


def test_short_budgets_go_into_breadth_down_to_three_each(lake: Lake, settings: Settings) -> None:
    targets, _, _ = planned(
        lake, settings, strategies=["text_neighbours"], budget={"samples": 60}, tail_events=10**6
    )
    assert targets["budget"].to_list() == [3] * 20


def test_an_item_without_letters_is_no_target(sources: Sources) -> None:
    items = sources.snapshot.items
    blank = items["item_id"][3]
    changed = items.with_columns(
        text=pl.when(pl.col("item_id") == blank).then(pl.lit("12 / 7")).otherwise("text")
    )
    sources.snapshot.__dict__["items"] = changed
    ranked = items_by_shortage(sources)
    assert ranked.height == items.height - 1
    assert blank not in ranked["item_id"]


def test_shards_hold_whole_chunks_and_stay_under_the_limit(lake: Lake, settings: Settings) -> None:
    targets, _, stats = planned(
        lake, settings, chunk_targets=1, shard_targets=1, max_shards=4, budget={"samples": 4000}
    )
    assert len(stats["shards"]) <= 4
    assert stats["shards"] == sorted(stats["shards"], key=stats["shards"].index)
    assert set(targets["shard"]) == set(stats["shards"])
    per_chunk = targets.group_by("strategy", "chunk").agg(pl.col("shard").n_unique())
    assert per_chunk["shard"].max() == 1
    assert per_chunk.height > 2 * len(stats["shards"])
    assert targets["target_id"].to_list() == list(range(targets.height))


def test_an_item_that_leaves_changes_its_own_chunk_only() -> None:
    targets = pl.DataFrame({"item_id": [str(i) for i in range(3000)], "user_key": None})
    before = chunk_numbers(targets, 50)
    gone = chunk_numbers(targets.filter(pl.col("item_id") != "17"), 50)
    assert np.array_equal(np.delete(before, 17), gone)
    sizes = np.bincount(before)
    assert len(sizes) == 64
    assert sizes.mean() <= 50
    assert sizes.min() > 15


def test_tokens_are_never_overspent(lake: Lake, settings: Settings) -> None:
    targets, plan, _ = planned(lake, settings, strategies=["llm_queries"], budget={"tokens": 200})
    own = settings.generate.llm_queries
    most = own.max_new_tokens * own.candidates
    assert targets["budget"].sum() == 200 // most
    assert plan["estimate"]["llm_queries"]["tokens"] <= 200


def test_queries_are_asked_once_for_items_of_one_text(lake: Lake, settings: Settings) -> None:
    targets, _, _ = planned(
        lake, settings, strategies=["llm_queries"], budget={"samples": 10**6, "tokens": 10**6}
    )
    items = lake.read(lake.get("snapshot", f"night={NIGHT.key}"), "items.parquet")
    assert items["text"].n_unique() < items.height
    assert targets.height == items["text"].n_unique()
    assert targets.join(items, on="item_id")["text"].is_unique().all()


def test_without_a_budget_there_is_a_plan_without_shards(lake: Lake, settings: Settings) -> None:
    targets, plan, stats = planned(lake, settings, budget={"samples": 0})
    assert targets.is_empty()
    assert stats == {"shards": [], "samples": {"text_neighbours": 0, "negatives": 0}}
    assert {cut["why"] for cut in plan["cut"]} == {"samples"}


def test_an_unknown_strategy_is_named(lake: Lake, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="no strategy 'gan'") as error:
        planned(lake, settings, strategies=["gan"])
    assert "text_neighbours" in error.value.hint


def test_another_model_makes_another_plan(settings: Settings, tmp_path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"not the same weights")
    with_llm = settings.with_({"generate": {"strategies": ["llm_queries"]}})
    with_other = with_llm.with_({"generate": {"engine": {"model": str(other)}}})
    first = stages.run("plan", NIGHT, with_llm)
    assert not stages.run("plan", NIGHT, with_llm).worked
    assert stages.run("plan", NIGHT, with_other).manifest.digest != first.manifest.digest
    other.write_bytes(b"nor are these")
    assert stages.run("plan", NIGHT, with_other).worked


DOWN = {"name": "openai", "url": "http://127.0.0.1:9/v1", "max_retries": 0}
"""Port 9, discard: nobody listens."""


@pytest.mark.parametrize("strategy", ["llm_queries", "llm_preferences"])
def test_a_plan_does_not_depend_on_how_a_server_is_down(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    plans = []
    for said in ("gave no answer in 1 attempt: Connection refused", "status 503 request 8c1f"):

        def down(*_: object, said: str = said) -> None:
            raise EngineError(said, hint="")

        monkeypatch.setattr(JsonClient, "ask", down)
        sources = sources_of(lake, settings.with_({"generate": {"engine": DOWN}}))
        with_it = sources.settings.with_({"generate": {"strategies": [strategy]}})
        sources.settings = with_it
        plans.append(plan_night(sources).document)
    assert plans[0] == plans[1]
    assert plans[0]["inputs"][strategy]["model"] == {"missing": "unreachable"}


def limited(settings: Settings, models: dict, **engine) -> Settings:
    return settings.with_(
        {
            "generate": {
                "strategies": ["llm_queries"],
                "budget": {"money": 0.001},
                "engine": DOWN | engine,
            },
            "cost": {"models": models, "cpu_hour": 0.1},
        }
    )


def test_money_binds_a_named_model_while_its_server_is_down(lake: Lake, settings: Settings) -> None:
    prices = {"paid-1": {"input": 1.0, "output": 1.0}}
    plan = plan_night(sources_of(lake, limited(settings, prices, model_name="paid-1"))).document
    assert plan["estimate"]["llm_queries"]["model"] == "paid-1"
    assert 0 < plan["estimate"]["llm_queries"]["samples"] < 20
    assert plan["cut"][0]["why"] == "money"


@pytest.mark.parametrize(
    ("engine", "named"), [({"model_name": "paid-2"}, "'paid-2'"), ({}, "did not tell")]
)
def test_money_is_not_planned_for_a_model_without_a_price(
    lake: Lake, settings: Settings, engine: dict, named: str
) -> None:
    prices = {"paid-1": {"input": 1.0, "output": 1.0}}
    with pytest.raises(SettingsError, match=f"llm_queries's model, .*{named}.* no price") as failed:
        plan_night(sources_of(lake, limited(settings, prices, **engine)))
    assert "cost.models." in failed.value.hint
    free = {"openai": {"input": 0.0, "output": 0.0}}  # said to cost nothing
    assert plan_night(sources_of(lake, limited(settings, free, **engine))).samples["llm_queries"]


def test_a_model_on_this_machine_is_paid_by_the_hour(lake: Lake, settings: Settings) -> None:
    here = limited(settings, {}, name="ctranslate2")
    assert plan_night(sources_of(lake, here)).samples["llm_queries"]
