"""Nights that are killed half way, and nights in which nothing happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from whole_nights import FIRST, SECOND, Shops, datasets, environment

from nightshift import stages
from nightshift.lake import Lake
from nightshift.nights import run_night
from nightshift.registry import alias
from nightshift.registry.log import verdicts
from nightshift.settings import Settings
from nightshift.store.engine import begin

KILLED = ("text_neighbours-000", 3)
"""The shard that is killed, and after how many finished chunks at the earliest."""


def command(settings: Settings, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nightshift.cli", *arguments],
        env={**os.environ, **environment(settings, folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def chunks(settings: Settings) -> dict[str, int]:
    """Finished chunks and when they were written."""
    found = (settings.home_path / "lake" / "chunks").glob("*/*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in found}


def test_a_killed_generation_goes_on_and_gives_the_same_samples(shops: Shops, tmp_path: Path):
    one = shops.fresh().with_({"generate": {"chunk_targets": 1}})
    for name in ("collect", "embed", "plan"):
        stages.run(name, FIRST, one)
    other = shops.like(one).with_({"generate": {"chunk_targets": 1}})
    arguments = ["generate", "--night", FIRST.key, "--set", "generate.chunk_targets=1"]

    child = command(one, tmp_path, *arguments)
    deadline = time.monotonic() + 120
    while len(chunks(one)) < KILLED[1] and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    before = chunks(one)
    partition = stages.STAGES["generate"].partition(FIRST, {"shard": KILLED[0]})
    assert before
    assert Lake.of(one).find("shard", partition) is None
    assert Lake.of(one).find("samples", f"night={FIRST.key}") is None

    again = command(one, tmp_path, *arguments)
    out, err = again.communicate()
    unbroken = command(other, tmp_path, *arguments)
    expected, _ = unbroken.communicate()

    assert again.returncode == 0, err
    resumed, whole = (json.loads(said.splitlines()[-1])[-1] for said in (out, expected))
    assert resumed["stage"] == "gather"
    assert resumed["rows"] > 100
    assert resumed["digest"] == whole["digest"]
    after = chunks(one)
    assert {name: after[name] for name in before} == before  # nothing was made twice
    assert after.keys() == chunks(other).keys()


def test_without_any_sample_the_night_goes_on_and_says_so(shops: Shops):
    """The language model is not there: every shard is lost, and nothing else."""
    settings = shops.fresh().with_(
        {"generate": {"strategies": ["llm_queries"], "engine": {"model": "/nowhere/model"}}}
    )

    run_night(FIRST, settings, told=lambda ran: None)

    lake = Lake.of(settings)
    samples = lake.get("samples", f"night={FIRST.key}").stats
    assert samples["failed"] == ["llm_queries-000"]
    assert "failed as a whole" in samples["skipped"]
    assert lake.get("blend", f"night={FIRST.key}").stats["rows"] == {"control": 0, "challenger": 0}
    assert lake.get("verdict", f"night={FIRST.key}").stats["decision"] == "control"
    report = lake.get("report", f"night={FIRST.key}")
    assert "failed as a whole" in lake.local_path(report.file("index.html")).read_text()


def without_events_in(settings: Settings, night) -> None:
    with begin(settings) as connection:
        connection.execute(
            text(
                "delete from nightshift.events where occurred_at >= :start and occurred_at < :end"
            ),
            {"start": night.start, "end": night.end - timedelta(microseconds=1)},
        )


@pytest.fixture(scope="module")
def first_empty(shops: Shops) -> Settings:
    settings = shops.fresh()
    without_events_in(settings, FIRST)
    run_night(FIRST, settings, told=lambda ran: None)
    return settings


def test_a_first_night_without_events_ends_empty(first_empty: Settings):
    found = datasets(first_empty, FIRST)

    assert found["morning"].stats["events"] == 0
    assert found["evaluate"].stats["empty"] is True
    assert found["promote"].stats["decision"] == "empty"
    assert [v["decision"] for v in verdicts(Lake.of(first_empty))] == ["empty"]


def test_an_empty_night_changes_no_model(shops: Shops, first_empty: Settings, tmp_path: Path):
    settings = shops.like(first_empty)
    without_events_in(settings, SECOND)
    lake = Lake.of(settings)
    line = alias.live(lake)

    child = command(settings, tmp_path, "night", "--start", SECOND.key)
    out, err = child.communicate()

    assert child.returncode == 0, err
    assert out.splitlines()[-1].startswith("report: ")
    found = datasets(settings, SECOND)
    assert found["promote"].stats["decision"] == "empty"
    live = alias.live(lake)
    assert (live and live.line) == (line and line.line)
    assert not any(v["decision"] == "promoted" for v in verdicts(lake))
