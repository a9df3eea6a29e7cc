"""What each stage's dataset shows, and what the catalogue of gauges promises."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from made_up_nights import result_rows, write_night
from nightshift.commands.readings import live_readings, readings
from nightshift.gauges import DECISIONS, FAMILIES, LINES, Gauge, freshness, gauges_of
from nightshift.lake import Lake
from nightshift.manifest import FileEntry, Manifest
from nightshift.night import Night
from nightshift.registry.verdict import Decision
from nightshift.settings import Settings
from nightshift.stages import LINE_OF_ARM

Nights = tuple[Settings, list[Night]]
UNITS = {"seconds", "bytes", "ratio"}
NOT_MADE_UP = {"late_rows", "refresh_events", "rows_dropped", "samples_quarantined_by_reason"}
"""What the made-up nights have no figures for; a real night shows them all."""


def value(gauges: list[Gauge], family: str, **labels: str) -> float:
    found = [g.value for g in gauges if g.family == family and g.labels == labels]
    assert len(found) == 1, (family, labels, found)
    return found[0]


def manifest(dataset: str, partition: str = "night=2017-05-20", **stats: Any) -> Manifest:
    folder = f"{dataset}/{partition}/{'0' * 16}"
    files = (
        FileEntry("own.parquet", f"{folder}/own-1.parquet", 100, "", rows=10),
        FileEntry("shared.parquet", f"{dataset}/night=2017-05-19/k/s.parquet", 900, "", rows=90),
    )
    run = {"seconds": 1.5, "created_at": "2026-01-01T00:00:00+00:00"}
    return Manifest(dataset, partition, "0" * 64, "", files, {}, "", "1/1", stats, run=run)


def nothing(name: str) -> Any:
    raise AssertionError(f"{name} was read")


def test_names_follow_the_conventions_for_gauges() -> None:
    for family, (meaning, labels) in FAMILIES.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", family)
        assert not family.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert meaning.endswith(".")
        assert all(re.fullmatch(r"[a-z]+", label) for label in labels)
        assert "night" not in labels  # a series per night would never end
        words = family.split("_")
        assert not set(words[:-1]) & UNITS  # a unit stands last
        assert "timestamp" not in words or words[-1] == "seconds"


def test_every_gauge_of_a_night_is_in_the_catalogue(nights: Nights) -> None:
    settings, _ = nights

    found = readings(Lake.of(settings), settings)

    assert len({(g.family, *sorted(g.labels.items())) for g in found}) == len(found)
    for gauge in found:
        assert tuple(gauge.labels) == FAMILIES[gauge.family][1]
        assert all(gauge.labels.values())
    shown = {gauge.family for gauge in found}
    assert set(FAMILIES) - shown == NOT_MADE_UP


def test_what_any_stage_shows_is_split_into_own_and_shared() -> None:
    found = gauges_of("blend", manifest("blend"), nothing)

    labels = {"stage": "blend", "part": "all"}
    assert value(found, "stage_duration_seconds", **labels) == 1.5
    assert value(found, "stage_completed_timestamp_seconds", **labels) == 1767225600
    assert value(found, "dataset_rows", **labels) == 100
    assert value(found, "dataset_size_bytes", **labels) == 1000
    assert value(found, "stage_written_bytes", **labels) == 100


def test_a_state_is_of_the_night_that_it_is_filed_by() -> None:
    found = gauges_of("refresh", manifest("state", "as_of=20170521T000000Z", events=7), nothing)

    end = Night.parse("2017-05-20").end.timestamp()
    assert value(found, "stage_night_end_timestamp_seconds", stage="refresh", part="all") == end
    assert value(found, "refresh_events") == 7


def test_a_shard_and_an_arm_are_told_apart() -> None:
    shard = manifest(
        "shard",
        "night=2017-05-20/shard=llm_queries-000",
        strategy="llm_queries",
        made=9,
        tokens=120,
    )
    arm = manifest("arm", "night=2017-05-20/arm=control/seed=3", steps=5, loss=None)

    of_shard, of_arm = gauges_of("generate", shard, nothing), gauges_of("finetune", arm, nothing)

    labels = {"strategy": "llm_queries", "shard": "llm_queries-000"}
    assert value(of_shard, "tokens_generated", **labels) == 120
    assert value(of_arm, "finetune_steps", arm="control", seed="3") == 5
    assert value(of_arm, "dataset_rows", stage="finetune", part="control-3") == 100
    assert "finetune_loss" not in {gauge.family for gauge in of_arm}  # it took no step


def test_acceptance_is_a_share_of_what_was_inspected() -> None:
    dataset = manifest(
        "inspection",
        accepted={"negatives": 30, "idle": 0},
        quarantined={"negatives": 10, "bad": 5},
        reasons={"low_relevance": 15},
        stopped=[{"strategy": "bad"}],
    )

    found = gauges_of("inspect", dataset, nothing)

    assert value(found, "samples_acceptance_ratio", strategy="negatives") == 0.75
    assert value(found, "samples_acceptance_ratio", strategy="bad") == 0
    assert value(found, "samples_quarantined_by_reason", reason="low_relevance") == 15
    assert value(found, "batches_stopped") == 1
    ratios = [g for g in found if g.family == "samples_acceptance_ratio"]
    assert len(ratios) == 2  # nothing of "idle" was inspected: no share, and no division by zero


def test_failed_shards_and_a_night_without_samples_are_counted() -> None:
    dataset = manifest("samples", made={}, failed=["a-000", "a-001"], skipped="too many failed")

    found = gauges_of("gather", dataset, nothing)

    assert value(found, "shards_failed") == 2
    assert value(found, "generation_skipped") == 1


def test_a_lift_has_its_bounds_and_none_where_there_is_no_ratio() -> None:
    rows = result_rows(0.02, 0.05)
    for row in rows:
        if row["slice"] == "cold" and row["against"]:
            row["relative"] = row["ci95"] = None  # the control's mean is 0
        if row["slice"] == "warm" and row["against"]:
            row["ci95"] = None  # too few users
    by_seed = [row | {"seed": 0, "relative": 9.0} for row in rows]

    found = gauges_of(
        "evaluate", manifest("evaluation", users=900, pooled_nights=3), lambda name: rows + by_seed
    )

    labels = {"over": "pooled", "slice": "overall", "metric": "ndcg_at_10"}
    assert value(found, "lift_ratio", **labels) == 0.02
    assert value(found, "lift_lower_ratio", **labels) == pytest.approx(-0.03)
    assert value(found, "lift_upper_ratio", **labels) == pytest.approx(0.07)
    assert value(found, "lift_users", **labels) == 900
    assert value(found, "lift_ratio", **labels | {"slice": "warm"}) == 0.02
    with_bounds = {g.labels["slice"] for g in found if g.family == "lift_lower_ratio"}
    assert with_bounds == {"overall", "tail"}
    assert "cold" not in {g.labels["slice"] for g in found if g.family == "lift_ratio"}


def test_a_verdict_is_one_of_its_decisions() -> None:
    found = gauges_of("promote", manifest("verdict", decision="kept", live_line="real"), nothing)

    decided = {g.labels["decision"]: g.value for g in found if g.family == "verdict_decision"}
    assert decided == {name: float(name == "kept") for name in get_args(Decision)}
    assert value(found, "verdict_live_line", line="real") == 1
    assert value(found, "verdict_live_line", line="blend") == 0
    assert get_args(Decision) == DECISIONS
    assert set(LINE_OF_ARM.values()) == set(LINES)


def test_freshness_is_how_far_the_live_model_lies_behind(nights: Nights) -> None:
    settings, (first, second) = nights

    found = live_readings(Lake.of(settings))

    assert value(found, "newest_night_end_timestamp_seconds") == second.end.timestamp()
    assert value(found, "live_night_end_timestamp_seconds") == first.end.timestamp()
    assert value(found, "live_lag_seconds") == 86_400
    assert freshness(None, None) == []


def test_a_night_under_way_leaves_the_verdict_of_the_one_before(nights: Nights) -> None:
    settings, (first, second) = nights

    found = readings(Lake.of(settings), settings)
    alone = readings(Lake.of(settings), settings, second)

    def ends(stage: str) -> float:
        return value(found, "stage_night_end_timestamp_seconds", stage=stage, part="all")

    assert ends("inspect") == second.end.timestamp()
    assert ends("promote") == first.end.timestamp()
    assert "verdict_decision" not in {gauge.family for gauge in alone}
    assert value(alone, "samples_accepted", strategy="negatives") == 172


def test_a_night_without_events_or_samples_is_told_as_well(nights: Nights) -> None:
    settings, (_, second) = nights
    lake = Lake.of(settings)
    write_night(lake, settings, second, number=1, until="promote", empty=True, skipped="no shard")

    found = readings(lake, settings, second)

    assert value(found, "verdict_decision", decision="empty") == 1
    assert value(found, "evaluation_users") == 0
    assert value(found, "generation_skipped") == 1
    assert "lift_ratio" not in {gauge.family for gauge in found}


def test_an_empty_lake_shows_nothing(tmp_path: Any) -> None:
    settings = Settings.load({"home": str(tmp_path)})

    assert readings(Lake.of(settings), settings) == []
