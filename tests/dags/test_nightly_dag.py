"""`dags/nightly.py` as Airflow parses it: quick, light, and in the order of the stage table."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow_for_tests import PROJECT

from nightshift.stages import NIGHTLY, STAGES

HEAVY = {"pandas", "torch", "polars", "pyarrow", "numpy", "great_expectations", "kubernetes"}
PARSE_SECONDS = 0.5
FROM_MORE = {
    "gather": {"generate"},
    "tune": {"wait_for_parent"},
    "blend": {"wait_for_parent"},
    "finetune": {"wait_for_parent"},
    "evaluate": {"finetune", "wait_for_parent"},
    "promote": {"wait_for_parent"},
    "refresh": {"finetune"},
    "score": {"refresh"},
    "report": {"finetune", "refresh"},
}
"""Inputs that a stage finds through its `more`: shards, arms, the state before and after."""

_PARSE = """
import gc, json, sys, time
from airflow.dag_processing.dagbag import DagBag
gc.collect()
gc.freeze()  # as Airflow's processor does before it forks one that parses
started = time.process_time()
bag = DagBag(sys.argv[1])
seconds = time.process_time() - started
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules), "errors": bag.import_errors}))
"""
"""Seconds of computing for all files, whatever else the machine does."""


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(PROJECT / "dags"))


@pytest.fixture(scope="module")
def dag(bag: DagBag) -> Any:
    return bag.dags["nightly"]


def ancestors(dag: Any, name: str) -> set[str]:
    return {task.task_id for task in dag.get_task(name).get_flat_relatives(upstream=True)}


def test_a_night_waits_for_a_date_or_for_an_asset(dag: Any) -> None:
    assert "nightshift_events" in str(dag.timetable)
    assert dag.timetable.timetable is not None


def test_parsing_is_quick_and_imports_nothing_heavy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh process, of modules that were compiled before; the best of three."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    parsed = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _PARSE, str(PROJECT / "dags")],
            capture_output=True,
            text=True,
            check=True,
        )
        parsed.append(json.loads(done.stdout.splitlines()[-1]))

    assert parsed[-1]["errors"] == {}
    assert min(one["seconds"] for one in parsed) < PARSE_SECONDS
    assert HEAVY & set(parsed[0]["modules"]) == set()


def test_every_stage_is_a_task(dag: Any) -> None:
    tasks = {task.task_id for task in dag.tasks}

    assert tasks - set(NIGHTLY) == {"night", "shard_names", "arm_names", "wait_for_parent"}
    assert set(NIGHTLY) <= tasks


@pytest.mark.parametrize("stage", map(STAGES.get, NIGHTLY), ids=lambda stage: stage.name)
def test_a_stage_comes_after_everything_that_it_reads(dag: Any, stage: Any) -> None:
    owners = {one.dataset: one.name for one in STAGES.values()}
    reads = {owners[wanted.dataset] for wanted in stage.inputs}
    reads |= {
        name for key, names in FROM_MORE.items() if key.strip() == stage.name for name in names
    }

    assert reads <= ancestors(dag, stage.name)


def test_no_learner_comes_after_the_morning(dag: Any) -> None:
    """What may see the night's own events is exactly what comes after `morning`."""
    after = {task.task_id for task in dag.get_task("morning").get_flat_relatives(upstream=False)}

    assert after == {"evaluate", "promote", "refresh", "score", "report"}


def test_a_failed_plan_cannot_look_like_a_dry_run(dag: Any) -> None:
    """What skips in a dry run comes after `shard_names`, which needs the plan."""
    for name in ("generate", "gather", "wait_for_parent"):
        assert "shard_names" in ancestors(dag, name)


def test_samples_and_recipe_are_made_side_by_side(dag: Any) -> None:
    assert "tune" not in ancestors(dag, "inspect")
    assert "generate" not in ancestors(dag, "tune")


def test_a_failed_shard_does_not_stop_the_night(dag: Any) -> None:
    gather = dag.get_task("gather")

    assert gather.trigger_rule == "all_done"
    assert gather.upstream_task_ids == {"generate"}
    assert gather.needs == "shard_names"


def test_nights_are_scheduled_day_by_day_and_only_when_asked(dag: Any) -> None:
    assert dag.is_paused_upon_creation is True
    assert dag.catchup is False
    assert not any(task.depends_on_past for task in dag.tasks)
    from airflow.serialization.encoders import coerce_to_core_timetable

    interval = coerce_to_core_timetable(dag.timetable).infer_manual_data_interval(
        run_after=datetime(2017, 11, 21, tzinfo=UTC)
    )
    assert (interval.start.isoformat(), interval.end.isoformat()) == (
        "2017-11-20T00:00:00+00:00",
        "2017-11-21T00:00:00+00:00",
    )


def test_every_task_has_an_owner_a_limit_and_retries(dag: Any) -> None:
    for task in dag.tasks:
        assert task.owner == "nightshift"
        if task.task_id in STAGES:
            assert task.execution_timeout is not None, task.task_id
            assert task.retries > 0
            assert task.retry_exponential_backoff
            assert task.doc_md


def test_assets_tell_other_dags_what_is_new(dag: Any) -> None:
    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks}

    assert {name: assets for name, assets in outlets.items() if assets} == {
        "collect": ["nightshift_snapshot"],
        "inspect": ["nightshift_accepted_samples"],
        "refresh": ["nightshift_model"],
        "score": ["nightshift_recommendations"],
    }


def test_no_date_keeps_tasks_from_being_made(dag: Any) -> None:
    """What the UI triggers has today's date; after its DAG's end it would have no tasks."""
    assert dag.end_date is None
    assert {task.end_date for task in dag.tasks} == {None}
