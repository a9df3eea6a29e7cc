"""`log.format = "json"`: the real command line, line by line; and what Airflow makes of it."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import termios
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow_context import context_of

from nightshift import logs
from nightshift.errors import BadInput, EngineError
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift_airflow import console
from nightshift_airflow.operators.outcome import cause
from nightshift_airflow.operators.stage import StageOperator
from nightshift_airflow.process import Ended
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.lines import Line, read

Nights = tuple[Settings, list[Night]]
COLLECT = ("collect", "--night", "2017-11-20", "--first")
COUNT_TO_THREE = """
import sys
from nightshift import logs
from nightshift.progress import Progress
from nightshift.settings import LogSettings
logs.set_up(LogSettings(format=sys.argv[1]))
with logs.at(night="2017-11-20", stage="embed"), Progress("embed", total=3, unit="texts") as bar:
    bar.add(3)
"""

BREAKS = """
import warnings
from nightshift import logs
from nightshift.settings import LogSettings
logs.set_up(LogSettings(format="json"))
warnings.warn("careful")
raise ValueError("two\\nlines")
"""


def command(*arguments: str, log: str = "json") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nightshift.cli", *arguments],
        env=os.environ | {"NIGHTSHIFT_LOG__FORMAT": log},
        capture_output=True,
        text=True,
        check=False,
    )


def objects(stderr: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stderr.splitlines()]
    for one in found:
        assert list(one)[:4] == ["time", "level", "logger", "message"]
        assert datetime.fromisoformat(one["time"]).utcoffset() is not None
        assert one["level"] in ("debug", "info", "warning", "error", "critical")
    return found


def test_every_line_says_its_night_and_stage_and_stdout_stays(small_shop: Settings) -> None:
    done = command(*COLLECT)

    assert done.returncode == 0, done.stderr
    lines = objects(done.stderr)
    assert lines[0]["message"] == "collect 2017-11-20: working"
    assert {(one["night"], one["stage"]) for one in lines} == {("2017-11-20", "collect")}
    assert json.loads(done.stdout.splitlines()[-1])["dataset"] == "snapshot"


@pytest.mark.parametrize("log", ["text", "json"])
def test_in_a_terminal_text_draws_a_bar_and_json_does_not(log: str) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    subprocess.run([sys.executable, "-c", COUNT_TO_THREE, log], stderr=slave, check=True)
    os.close(slave)
    seen = os.read(master, 65_536).decode()
    os.close(master)

    if log == "text":
        assert "100%|" in seen
    else:
        [line] = objects(seen)
        assert (line["logger"], line["stage"]) == ("nightshift.progress", "embed")
        assert line["message"].startswith("embed: 3/3 texts, ")
        assert line["progress"] == {"label": "embed", "done": 3, "total": 3, "unit": "texts"}


def test_an_error_is_the_last_line_with_its_fields(nights: Nights) -> None:
    said = {log: command("plan", "--night", "2019-01-01", log=log) for log in ("text", "json")}

    assert {done.returncode for done in said.values()} == {12}
    last = objects(said["json"].stderr)[-1]
    assert f"nightshift: {last['message']}\n" == said["text"].stderr
    assert last["level"] == "error"
    assert last["error"] == "DatasetMissing"
    assert last["hint"] == "run `nightshift collect --night 2019-01-01` first"
    assert last["exit_code"] == 12
    assert (last["night"], last["stage"]) == ("2019-01-01", "plan")


@pytest.mark.parametrize(
    "arguments",
    [("collect", "--night", "soon"), ("champion", "--as-of", "once"), ("status", "--set", "x")],
)
def test_a_wrong_command_line_is_told_in_json_as_well(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    done = command(*arguments)

    assert done.returncode == 2
    assert [one["exit_code"] for one in objects(done.stderr)] == [2]


def test_the_option_wins_over_the_variable(small_shop: Settings) -> None:
    plain = command("plan", "--night", "2019-01-01", "--set", "log.format=text")
    quiet = command(*COLLECT, "--set", "log.level=warning")

    assert plain.stderr.startswith("nightshift: plan needs")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_warnings_and_what_nobody_caught_are_one_line_each() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", BREAKS], capture_output=True, text=True, check=False
    )

    warned, broke = objects(done.stderr)
    assert done.returncode == 1
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert (broke["level"], broke["message"]) == ("critical", "ValueError: two\nlines")
    assert broke["traceback"].startswith("Traceback (most recent call last):")


def test_what_is_logged_of_an_error_has_its_fields_too() -> None:
    """A lost shard is a warning of the night, not its end."""
    error = EngineError("It answered nothing.", hint="load another").at(
        stage="generate", night="2017-11-20", shard="llm_queries-000", file="model.gguf"
    )
    record = logging.LogRecord("nightshift.night", logging.WARNING, "", 0, "%s", (error,), None)

    with logs.at(night="2017-11-20", stage="night", seed="3"):
        made = json.loads(logs.JsonLines().format(record))

    assert made["stage"] == "generate"
    assert made["parts"] == {"seed": "3", "shard": "llm_queries-000"} or made["parts"] == {
        "shard": "llm_queries-000",
        "seed": "3",
    }
    assert made["context"] == {"file": "model.gguf"}
    assert (made["error"], made["exit_code"], made["hint"]) == ("EngineError", 32, "load another")


def test_a_place_ends_with_its_block() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "line one\nline two", None, None)

    with (
        logs.at(night="a", stage="tune"),
        logs.at(night="a-inner", stage="finetune", arm="control"),
    ):
        inside = json.loads(logs.JsonLines().format(record))
    outside = json.loads(logs.JsonLines().format(record))

    assert (inside["night"], inside["parts"]) == ("a-inner", {"arm": "control"})
    assert not {"night", "stage", "parts"} & set(outside)
    assert "\n" not in logs.JsonLines().format(record)


def test_logging_is_part_of_no_key() -> None:
    loud = Settings.load({"log": {"format": "json", "level": "debug"}})

    for stage in STAGES.values():
        assert Settings.load().digest_of(*stage.sections) == loud.digest_of(*stage.sections)
        assert not any(section.startswith("log") for section in stage.sections)


# --- in Airflow --------------------------------------------------------------------------------


def test_a_tasks_log_shows_text_at_its_level(
    small_shop: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_LOG__FORMAT", "json")
    run = Run(Night.parse("2017-11-20"), first=True)

    with caplog.at_level(logging.INFO, logger=console.LOGGER):
        StageOperator(task_id="collect", stage="collect").execute(context_of(run))
        with pytest.raises(AirflowFailException) as failed:
            StageOperator(task_id="plan", stage="plan").execute(context_of(run))

    told = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert any(text.endswith(" collect 2017-11-20: working") for _, text in told)
    assert not any("{" in text for _, text in told)
    assert ("ERROR", f"nightshift: {str(failed.value).partition(': ')[2]}") in told
    assert "plan failed (exit 12): plan needs the dataset 'vectors'" in str(failed.value)


@pytest.mark.parametrize(
    "raw",
    ["12:00:01 embed: working", "{not json", '{"a": 1}', '["level", "message"]', "{}", ""],
)
def test_other_lines_stay_as_they_are(raw: str) -> None:
    assert read(raw) == Line(logging.INFO, raw)


def test_a_line_without_a_time_or_with_an_odd_level_is_still_readable() -> None:
    assert read('{"level": "warning", "message": "m"}') == Line(logging.WARNING, "m")
    assert read('{"level": "odd", "message": "m", "time": "?"}') == Line(logging.INFO, "m")
    with_trace = '{"level": "error", "message": "m", "traceback": "Traceback: here"}'
    assert read(with_trace) == Line(logging.ERROR, "m\nTraceback: here")


def test_the_cause_is_the_same_from_text_and_json() -> None:
    error = BadInput("A row is bad.", hint="mend it").at(stage="collect", row=3)
    record = logging.LogRecord("nightshift", logging.ERROR, "", 0, "%s", (error,), None)
    as_json = logs.JsonLines().format(record)

    assert cause("collect", Ended(20, [], [as_json, "{later noise"])) == cause(
        "collect", Ended(20, [], [f"nightshift: {error}", "later noise"])
    )
