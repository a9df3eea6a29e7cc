"""A whole night through Airflow, every stage real: what `make nightly` runs, on a small shop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_night import small_night

from nightshift.lake import Lake
from nightshift.settings import Settings


def nightly(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nightshift_airflow", "nightly", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shop(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with small_night(monkeypatch) as settings:
        yield settings


def test_a_night_ends_with_its_report_and_is_not_done_twice(shop: Settings) -> None:
    first = nightly("--to", "2017-11-20")
    second = nightly("--to", "2017-11-20")

    assert first.returncode == 0, first.stderr
    lake = Lake.of(shop)
    report = lake.local_path(lake.get("report", "night=2017-11-20").file("report.json"))
    for done in (first, second):
        assert done.stdout.splitlines()[-1] == f"report: {report}"
    assert lake.find("state", "as_of=20171121T000000Z") is not None
    assert "0 were done before" in first.stderr
    assert "0 stages did work" in second.stderr
    assert "airflow.sdk" not in first.stderr  # Airflow's own lines are in its log


def test_a_failed_stage_ends_the_night_with_its_cause(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_TEXT__ENCODER", str(tmp_path / "no-such-model"))

    done = nightly("--to", "2017-11-20")

    assert done.returncode != 0
    assert "no-such-model" in done.stderr
    assert "Night 2017-11-20 failed in embed" in done.stderr.splitlines()[-1]
