"""`nightshift champion | verdicts | rollback | retract`."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from factories import commit
from nightshift import cli
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry.alias import move_alias
from nightshift.settings import Settings
from nightshift.stages import STAGES


@pytest.fixture
def two_nights(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    settings = Settings.load()
    lake = Lake.of(settings)
    night = Night.parse("2017-11-20")
    for _ in range(2):
        state = commit(lake, settings, night, STAGES["refresh"], lambda ctx: {"live_line": "real"})
        move_alias(lake, state, "real", night)
        night = Night(night.end, night.end + timedelta(days=1))


def run(capsys, *arguments):
    code = cli.main(arguments)
    out = capsys.readouterr().out.splitlines()
    return code, out


def test_rollback_then_champion(two_nights, capsys):
    code, out = run(capsys, "rollback", "--reason", "complaints")
    assert code == 0
    assert "night 2017-11-20" in out[0]

    _, out = run(capsys, "champion")
    assert json.loads(out[-1])["night"] == "2017-11-20"
    assert len(out) == 3 + 1
    assert out[2].startswith("live")
    assert "complaints" in out[2]


def test_a_rollback_to_nowhere_says_where_to_look(two_nights, capsys):
    assert cli.main(["rollback", "--to", "1999-01-01", "--reason", "r"]) == 2
    assert "nightshift champion" in capsys.readouterr().err


def test_an_empty_registry_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    for command in ("champion", "verdicts"):
        assert run(capsys, command)[0] == 0
    assert run(capsys, "champion", "--as-of", "2017-11-20")[1] == ["null"]


def test_retract_counts_and_needs_a_condition(two_nights, capsys):
    code, out = run(capsys, "retract", "--strategy", "x", "--reason", "r")
    assert code == 0
    assert json.loads(out[-1])["samples"] == 0
    assert cli.main(["retract", "--reason", "r"]) == 2
