"""`nightshift housekeeping`: a table for a person, a line of JSON for what runs it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from small_lake import night_number, objects

from nightshift import cli
from nightshift.housekeeping.accounts import size_of
from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.settings import Settings

XCOM_BYTES = 4000


@pytest.fixture
def old_lake(six_nights: Settings, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake that the command finds by its environment, a month old."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(six_nights.home))
    monkeypatch.setenv("NIGHTSHIFT_RETENTION__DAYS", "2")
    monkeypatch.setenv("NIGHTSHIFT_RETENTION__ROLLBACK_STATES", "1")
    month_ago = time.time() - 30 * 86_400
    for path in (Path(six_nights.home) / "lake").rglob("*"):
        os.utime(path, (month_ago, month_ago))
    return Lake.of(Settings.load())


def test_the_table_says_what_goes_and_why(
    old_lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    before = objects(old_lake)

    assert cli.main(["housekeeping", "--dry-run"]) == 0

    head, *rows, told = capsys.readouterr().out.splitlines()
    assert head.split() == ["kind", "kept", "size", "to", "go", "frees", "why"]
    snapshot = next(row for row in rows if row.startswith("snapshot"))
    assert "older than 2 days: " in snapshot
    assert "Nights after 2017-05-24 00:00 UTC are kept in full." in rows
    assert any(row.startswith("Housekeeping would free ") for row in rows)
    assert json.loads(told)["dry_run"] is True
    assert objects(old_lake) == before
    assert max(map(len, [head, *rows])) <= 100


def test_the_last_line_is_what_the_dry_run_promised(
    old_lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["housekeeping", "--dry-run"])
    promised = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert cli.main(["housekeeping", "--json", str(tmp_path / "done.json")]) == 0

    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(line) == promised | {"dry_run": False}
    assert json.loads((tmp_path / "done.json").read_text()) == json.loads(line)
    assert len(line) < XCOM_BYTES
    assert old_lake.find("vectors", f"night={night_number(0).key}") is None


def test_a_setting_may_be_tried_on_the_command_line(
    old_lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["housekeeping", "--set", "retention.days=6"]) == 0

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["kinds"]["state"]["gone"] == 0
    assert told["kept_since"] == "2017-05-20T00:00:00+00:00"


def test_a_second_one_at_the_same_time_says_so(
    old_lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(old_lake, "housekeeping/sweep", wait_seconds=0, done=lambda: False):
        assert cli.main(["housekeeping"]) == 13

    assert "Another run holds housekeeping/sweep" in capsys.readouterr().err


def test_an_empty_lake_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    assert cli.main(["housekeeping"]) == 0

    assert "No state yet: every night is kept in full." in capsys.readouterr().out


def test_no_stage_is_keyed_by_retention() -> None:
    from nightshift.stages import STAGES

    assert not any("retention" in stage.sections for stage in STAGES.values())


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000_000_000, "2.0 TB")]
)
def test_sizes_are_readable(count: int, text: str) -> None:
    assert size_of(count) == text
