"""A whole night through Airflow with lineage on: the events that a file gets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.append(str(Path(__file__).parents[1] / "dags"))
from small_night import small_night

from nightshift.gauges import FAMILIES
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NIGHT = "2017-11-20"
Event = dict[str, Any]


@pytest.fixture
def shop(
    small_shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    transport = {"type": "file", "log_file_path": str(tmp_path / "events.jsonl"), "append": True}
    (tmp_path / "openlineage.yml").write_text(json.dumps({"transport": transport}))
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(tmp_path / "openlineage.yml"))
    with small_night(monkeypatch) as settings:
        yield settings


def nightly() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nightshift_airflow", "nightly", "--to", NIGHT],
        capture_output=True,
        text=True,
        check=False,
    )


def events_in(folder: Path) -> list[Event]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of_stages(events: list[Event]) -> dict[str, list[Event]]:
    """The stages' events by run, in order."""
    found: dict[str, list[Event]] = {}
    for event in events:
        if event["job"]["name"].removeprefix("nightly.") in STAGES:
            found.setdefault(event["run"]["runId"], []).append(event)
    return found


def names(event: Event, side: str) -> set[tuple[str, str]]:
    return {(one["namespace"], one["name"]) for one in event[side]}


def test_each_dataset_written_is_what_a_later_stage_reads(shop: Settings, tmp_path: Path) -> None:
    done = nightly()

    assert done.returncode == 0, done.stderr
    runs = of_stages(events_in(tmp_path))
    assert all([e["eventType"] for e in run] == ["START", "COMPLETE"] for run in runs.values())
    jobs = Counter(run[0]["job"]["name"].removeprefix("nightly.") for run in runs.values())
    assert jobs == Counter([*NIGHTLY, "generate", "finetune"])  # two shards, two arms

    lake, written, read = Lake.of(shop), set[tuple[str, str]](), set[tuple[str, str]]()
    for _, complete in runs.values():
        from_lake = {name for name in names(complete, "inputs") if name[0] == "file"}
        assert from_lake <= written
        read |= from_lake
        written |= names(complete, "outputs")
        made = complete["outputs"][0]
        dataset, _, partition = made["name"].removeprefix(f"{lake._base}/").partition("/")
        manifest = lake.get(dataset, partition)
        assert made["facets"]["version"]["datasetVersion"] == manifest.digest
        assert made["outputFacets"]["outputStatistics"]["rowCount"] == manifest.rows
        assert complete["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith(NIGHT)
    unread = {name.rpartition("/night=")[0].rpartition("/")[2] for _, name in written - read}
    assert unread == {"report", ""}  # the second is the table in Postgres
    assert "a key for tests" not in (tmp_path / "events.jsonl").read_text()
    every_figure_of_a_real_night_is_shown()


def every_figure_of_a_real_night_is_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nightshift.cli", "metrics"],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = {family.name for family in text_string_to_metric_families(done.stdout)}

    assert {f"nightshift_{family}" for family in FAMILIES} - shown <= {
        "nightshift_rows_dropped"  # nothing had to be dropped
    }


def test_a_failed_stage_sends_its_cause(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_TEXT__ENCODER", str(tmp_path / "no-such-model"))

    assert nightly().returncode != 0

    runs = {run[0]["job"]["name"]: run for run in of_stages(events_in(tmp_path)).values()}
    start, failed = runs["nightly.embed"]
    assert (start["eventType"], failed["eventType"]) == ("START", "FAIL")
    assert failed["outputs"] == []
    assert names(failed, "inputs") == names(start, "inputs")
    message = failed["run"]["facets"]["errorMessage"]["message"]
    assert "no-such-model" in message
    assert "Hint: " in message
