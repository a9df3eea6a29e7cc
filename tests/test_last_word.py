"""The last word of a command: its result or its error, where Kubernetes reads it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from nightshift import cli
from nightshift.errors import StageFailed
from nightshift.last_word import LIMIT_BYTES, leave, shortened
from nightshift.settings import Settings


def test_a_stage_that_is_done_leaves_its_result(
    small_shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__TERMINATION_LOG", str(log))

    assert cli.main(["collect", "--night", "2017-11-20"]) == 0

    said = json.loads(log.read_text())
    assert (said["stage"], said["worked"]) == ("collect", True)


def test_wrong_settings_do_not_hide_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "none")

    assert cli.main(["collect", "--night", "2017-11-20"]) == 2


def test_nothing_is_written_where_no_file_waits(tmp_path: Path) -> None:
    leave(tmp_path / "termination-log", "{}")

    assert list(tmp_path.iterdir()) == []


def test_a_long_word_stays_whole_json() -> None:
    error = StageFailed("é" * 9000, hint="mend it", file="a.csv")

    said = shortened(error.as_json())

    assert len(said.encode()) <= LIMIT_BYTES
    assert json.loads(said)["hint"] == "mend it"
    assert json.loads(said)["exit_code"] == 50
    assert json.loads(said)["message"].endswith(" …")


def test_a_file_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "termination-log"
    log.touch()

    def full(*given: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "write_text", full)
    with caplog.at_level(logging.WARNING):
        leave(log, "{}")

    assert "no space" in caplog.text
