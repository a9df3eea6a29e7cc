"""`nightshift metrics`, read back by Prometheus' own parser."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nightshift.commands.readings import readings
from nightshift.exposition import exposition
from nightshift.gauges import FAMILIES, Gauge
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings

Nights = tuple[Settings, list[Night]]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge", family
        assert family.documentation == FAMILIES[family.name.removeprefix("nightshift_")][0]
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def as_series(gauges: list[Gauge]) -> Series:
    return {(gauge.name, frozenset(gauge.labels.items())): gauge.value for gauge in gauges}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nightshift.cli", "metrics", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_what_prometheus_reads(nights: Nights) -> None:
    settings, _ = nights

    done = command()

    assert done.returncode == 0, done.stderr
    assert parsed(done.stdout) == as_series(readings(Lake.of(settings), settings))


def test_a_textfile_is_replaced_in_one_step(nights: Nights, tmp_path: Path) -> None:
    path = tmp_path / "collector" / "nightshift.prom"

    for _ in range(2):
        assert command("--output", str(path)).stdout == ""

    assert parsed(path.read_text())
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644  # the collector is another user


def test_one_night_as_json(nights: Nights, tmp_path: Path) -> None:
    _, (first, _) = nights

    done = command("--night", first.key, "--json", str(tmp_path / "metrics.json"))

    rows = json.loads(done.stdout.splitlines()[-1])
    assert rows == json.loads((tmp_path / "metrics.json").read_text())
    assert {row["value"] for row in rows if row["family"] == "live_lag_seconds"} == {86_400}


def test_hostile_labels_and_odd_numbers_survive() -> None:
    odd = 'a "quoted" \\ back\nslash'
    gauges = [
        Gauge("samples_quarantined_by_reason", 1e-7, {"reason": odd}),
        Gauge("samples_quarantined_by_reason", math.inf, {"reason": "{}"}),
        Gauge("live_lag_seconds", 1495411200.5),
    ]

    assert parsed(exposition(gauges)) == as_series(gauges)


def test_nothing_to_show_is_an_empty_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    done = command()

    assert (done.returncode, done.stdout) == (0, "")


def test_a_wrong_night_is_a_usage_error(nights: Nights) -> None:
    done = command("--night", "yesterday")

    assert done.returncode == 2
    assert "Hint: " in done.stderr
