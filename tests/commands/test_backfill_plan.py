"""`nightshift backfill-plan`: what is left, what it takes, and a line that can be copied."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from nightshift.cli import main
from nightshift.commands.backfill_plan import first_night
from nightshift.commands.estimate import Took, took, typical
from nightshift.lake import Lake
from nightshift.night import Night, nights_between, parse_time
from nightshift.settings import Settings

Nights = tuple[Settings, list[Night]]
DATES = ["--from", "2017-05-20", "--to", "2017-05-23"]


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], dict]:
    assert main(["backfill-plan", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


def test_an_empty_lake_has_everything_to_do_and_no_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    lines, plan = planned(capsys, *DATES, "--at-once", "3")

    assert (plan["nights"], plan["nights_done"], plan["hours"]) == (4, 0, None)
    assert "estimate: none yet" in "\n".join(lines)
    words = shlex.split(plan["command"])
    assert words[:3] == ["airflow", "backfill", "create"]
    assert words[words.index("--to-date") + 1] == "2017-05-23"
    assert words[words.index("--max-active-runs") + 1] == "3"
    assert json.loads(words[words.index("--dag-run-conf") + 1]) == {"first_date": "2017-05-20"}
    # Airflow may have runs of these nights that failed before they wrote anything.
    assert words[words.index("--reprocess-behavior") + 1] == "completed"
    assert f"  {plan['command']}" in lines


def test_what_is_there_is_not_counted_and_tells_what_the_rest_takes(
    two_nights: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (first, second) = two_nights
    since, until = f"{first.start:%Y-%m-%d}", f"{second.start:%Y-%m-%d}"

    _, plan = planned(capsys, "--from", since, "--to", until, "--set", "cost.gpu_hour=3600")

    # The report of the first night; of the second one, what comes after `inspect`.
    assert plan["stages"] == 1 + 9
    assert plan["measured_nights"] == 2
    assert 0 < plan["gpu_hours"] <= plan["hours"]
    assert plan["money"] == pytest.approx(plan["gpu_hours"] * 3600)
    assert "--reprocess-behavior completed" in plan["command"]


def test_hours_of_a_night_are_those_of_its_parts_together(two_nights: Nights) -> None:
    settings, (first, second) = two_nights
    lake = Lake.of(settings)
    shards = [
        lake.get("shard", f"night={first.key}/shard={name}").run["seconds"]
        for name in lake.get("plan", f"night={first.key}").stats["shards"]
    ]

    found = took(lake, first, settings)

    assert found.first
    assert not took(lake, second, settings).first
    assert found.seconds["generate"] == pytest.approx(sum(shards))
    assert "report" not in found.seconds


def test_first_nights_are_estimated_apart_and_stand_in_where_nothing_else_is_known() -> None:
    nights = [
        Took(True, {"tune": 100.0, "report": 7.0}),
        Took(False, {"tune": 1.0}),
        Took(False, {"tune": 5.0}),
    ]

    assert typical(nights) == {
        True: {"tune": 100.0, "report": 7.0},
        False: {"tune": 3.0, "report": 7.0},
    }
    assert typical([]) == {True: {}, False: {}}


def test_the_first_night_is_named_only_when_no_state_leads_to_the_range(
    two_nights: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, (first, second) = two_nights
    lake = Lake.of(settings)
    day = nights_between(second.start, second.start)
    gap = parse_time("2017-06-20")

    assert first_night(lake, [first, second], settings) == first
    assert first_night(lake, day, settings) is None
    assert first_night(lake, nights_between(gap, gap), settings) is None
    lines, _ = planned(capsys, "--from", "2017-06-20", "--to", "2017-06-20")
    assert any("No state ends where 2017-06-20 starts" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2017-05-23", "--to", "2017-05-20"], "ends before it starts"),
        ([*DATES, "--at-once", "0"], "at least 1"),
    ],
)
def test_a_plan_of_nothing_is_a_usage_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    assert main(["backfill-plan", *arguments]) == 2
    assert message in capsys.readouterr().err
