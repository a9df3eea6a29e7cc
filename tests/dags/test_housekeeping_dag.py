"""`dags/housekeeping.py`, and the operator that runs its command, against a real lake."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow_for_tests import PROJECT

from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.settings import Settings
from nightshift_airflow.operators.command import CommandOperator
from nightshift_airflow.operators.outcome import raise_for
from nightshift_airflow.process import Ended
from nightshift_airflow.settings import airflow_settings


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(PROJECT / "dags" / "housekeeping.py"))
    assert bag.import_errors == {}
    return bag.dags["housekeeping"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with one chunk, where the command finds it."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    lake = Lake.of(Settings.load())
    lake.write_bytes("chunks/ab/one.parquet", b"x")
    return lake


def operator(*command: str, **kwargs: Any) -> CommandOperator:
    return CommandOperator(task_id="a_command", command=list(command), **kwargs)


# --- the DAG ------------------------------------------------------------------------------------


def test_it_is_weekly_paused_at_first_and_one_at_a_time(dag: Any) -> None:
    assert dag.is_paused_upon_creation is True
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert "nightshift" in dag.tags
    assert dag.timetable.expression == airflow_settings().housekeeping_schedule


def test_the_schedule_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__HOUSEKEEPING_SCHEDULE", "0 3 1 * *")
    airflow_settings.cache_clear()
    try:
        bag = DagBag(str(PROJECT / "dags" / "housekeeping.py"))
        assert bag.dags["housekeeping"].timetable.expression == "0 3 1 * *"
    finally:
        airflow_settings.cache_clear()


def test_its_task_has_an_owner_a_limit_and_retries(dag: Any) -> None:
    assert [task.task_id for task in dag.tasks] == ["lake"]
    task = dag.get_task("lake")
    assert task.owner == "nightshift"
    assert task.retries > 0
    assert task.retry_exponential_backoff
    assert task.execution_timeout is not None
    assert task.doc_md


def test_its_page_says_who_tidies_airflow_itself(dag: Any) -> None:
    assert "airflow db clean" in dag.doc_md


@pytest.mark.parametrize(("dry_run", "command"), [(True, "--dry-run"), (False, "--no-dry-run")])
def test_the_form_decides_about_the_dry_run(dag: Any, dry_run: bool, command: str) -> None:
    from types import SimpleNamespace

    assert dag.params["dry_run"] is False
    task = dag.get_task("lake")

    rendered = task.render_template(task.command, {"params": SimpleNamespace(dry_run=dry_run)})

    assert rendered == ["housekeeping", command]


# --- the operator -------------------------------------------------------------------------------


def test_a_command_returns_the_json_of_its_last_line(
    home: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    told = operator("housekeeping", "--dry-run").execute({})

    assert told["dry_run"] is True
    assert told["kinds"]["chunks"]["kept"] == 1
    assert "Housekeeping would free 0 B." in capsys.readouterr().out  # where tests see the log


def test_what_no_retry_heals_fails_for_good(home: Lake) -> None:
    with pytest.raises(AirflowFailException, match=r"housekeeping failed \(exit 2\)"):
        operator("housekeeping", "--set", "retention.dayz=1").execute({})


def test_what_time_heals_may_be_retried(home: Lake) -> None:
    with (
        held(home, "housekeeping/sweep", wait_seconds=0, done=lambda: False),
        pytest.raises(AirflowException, match="Another run holds") as raised,
    ):
        operator("housekeeping").execute({})

    assert not isinstance(raised.value, AirflowFailException)


def test_a_command_that_was_killed_says_by_what() -> None:
    with pytest.raises(AirflowException, match="housekeeping was killed by SIGKILL"):
        raise_for("housekeeping", Ended(-9, [], []))


def test_killing_the_task_ends_the_command(home: Lake) -> None:
    """Killed as soon as it is there: it imports for a second before it could end by itself."""
    task = operator("plan", "--night", "2017-11-20")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            task.execute({})
        except AirflowException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    child = _child_of_this_process()
    task.on_kill()
    thread.join(30)

    assert not thread.is_alive()
    assert "SIGTERM" in str(failed[0]) or "SIGKILL" in str(failed[0])
    assert not child.is_running()


def _child_of_this_process() -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process().children():
            if sys.executable in child.cmdline() and "nightshift.cli" in child.cmdline():
                return child
        time.sleep(0.005)
    raise AssertionError("the command did not start")


def test_pods_are_swept_only_where_stages_are_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift_airflow.settings import airflow_settings

    def tasks() -> set[str]:
        airflow_settings.cache_clear()
        path = PROJECT / "dags" / "housekeeping.py"
        return set(DagBag(str(path)).dags["housekeeping"].task_ids)

    try:
        assert tasks() == {"lake"}
        monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__RUNNER", "pod")
        assert tasks() == {"lake", "pods"}
    finally:
        airflow_settings.cache_clear()
