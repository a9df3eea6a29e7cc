"""What a dry run of `nightly` says: the plan's estimate, as the command line shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories import NIGHT, make_settings, write_snapshot, write_vectors
from nightshift import stages
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift_airflow import tasks
from nightshift_airflow.resolver import Run


def test_the_estimate_of_tonights_plan_is_said_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(tmp_path)
    lake = Lake.of(settings)
    write_vectors(lake, settings, write_snapshot(lake, settings, households=20, n_items=40))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    sets = ('generate.strategies=["negatives"]', "cost.cpu_hour=1")
    run = Run(NIGHT, dry=True, sets=sets)
    stages.run("plan", NIGHT, Settings.load({"generate": {"strategies": ["negatives"]}}))
    said: list[str] = []
    monkeypatch.setattr(tasks, "say", said.append)

    names = tasks.shard_names.function(run.to_json())

    assert names == []  # a dry run ends here
    assert said[0] == "plan: 1 shards"
    assert said[1].split()[:2] == ["strategy", "samples"]
    assert "USD" in said[1]
    assert said[2].startswith("negatives")
