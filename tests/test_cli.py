"""The command line's contract: exit codes, one line of error, JSON as the last line, fast help."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import nightshift
from nightshift import cli, errors, stages
from nightshift.errors import NightshiftError

EXIT_CODES = {
    "NightshiftError": 1,
    "UsageError": 2,
    "SettingsError": 2,
    "Unprotected": 2,
    "StoreError": 10,
    "LakeError": 11,
    "DatasetMissing": 12,
    "LeaseHeld": 13,
    "DiskFull": 14,
    "BadInput": 20,
    "BatchStopped": 30,
    "GenerationFailed": 31,
    "EngineError": 32,
    "ParentMissing": 40,
    "ModelLags": 42,
    "ModelRejected": 41,
    "StageFailed": 50,
}
COLLECT = ["collect", "--night", "2017-11-20", "--first"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    return tmp_path


def test_every_error_of_the_tree_is_listed_here():
    assert set(errors.__all__) == set(EXIT_CODES)


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_an_error_is_one_line_with_its_exit_code_and_json_for_a_pod(
    name: str,
    code: int,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    kind: type[NightshiftError] = getattr(errors, name)

    def fail(*given: object, **options: object) -> None:
        raise kind("It broke — “badly”.", hint="mend it", file="a.csv").at(row=3, stage="collect")

    monkeypatch.setattr(stages, "run", fail)
    log = home / "termination-log"
    log.touch()
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__TERMINATION_LOG", str(log))

    assert cli.main(COLLECT) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "nightshift: It broke — “badly”. [file a.csv, row 3, stage collect] Hint: mend it"
    )
    said = json.loads(log.read_text())
    assert said == {
        "error": name,
        "message": "It broke — “badly”.",
        "hint": "mend it",
        "exit_code": code,
        "file": "a.csv",
        "row": "3",
        "stage": "collect",
    }


def test_stopping_it_by_hand_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def stop(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run", stop)
    assert cli.main(COLLECT) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["collect", "--night", "yesterday"],
        ["collect", "--night", "2017-11-21/2017-11-20"],
        ["night", "--start", "soon"],
        ["night"],
        ["night", "--start", "2017-11-20", "--end", "2017-11-19"],
        ["champion", "--as-of", "once"],
        ["status", "--from", "once"],
        ["night", "--shop", "amazon"],
        ["night", "--shop", "complete-journey", "--cut", "1.5"],
        ["night", "--shop", "complete-journey", "--seeds", "0"],
        ["night", "--shop", "complete-journey", "--withhold", "1"],
        ["collect", "--night", "2017-11-20", "--set", "collect.unknown=1"],
    ],
)
def test_wrong_arguments_are_usage_errors_with_a_way_out(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(arguments) == 2
    assert "Hint: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["dream"], ["collect"], ["collect", "--nihgt", "x"]])
def test_unknown_commands_and_options_end_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: nightshift" in capsys.readouterr().err


def test_help_and_version_take_less_than_a_second():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-m", "nightshift.cli", option],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("nightshift load complete-journey" in done.stdout) == (option == "--help")
    assert done.stdout.strip() == nightshift.__version__
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent / 2 < 1  # of the processor's time: the machine may be busy with other things


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path):
    line = f"{sys.executable} -m nightshift.cli settings | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["champion"], ["verdicts"], ["settings"]])
def test_the_file_of_json_is_what_was_said(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "deep" / "out.json"
    assert cli.main([*command, "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(path.read_text())
