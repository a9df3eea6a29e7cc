"""`dags/adapt_generator.py`: weekly, for the day on which it runs, and by hand for any night."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow_for_tests import PROJECT
from running_airflow import Api

from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift_airflow.local.place import Place
from nightshift_airflow.resolver import resolve
from nightshift_airflow.settings import airflow_settings

FILE = PROJECT / "dags" / "adapt_generator.py"
NOW = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)
WEEK = (datetime(2026, 11, 15, 12, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(FILE))
    assert bag.import_errors == {}
    return bag.dags["adapt_generator"]


def test_it_is_weekly_and_one_at_a_time(dag: Any) -> None:
    assert dag.timetable.expression == airflow_settings().adapt_schedule == "0 12 * * 0"
    assert dag.max_active_runs == 1
    assert dag.catchup is False


def test_it_is_three_tasks_in_a_row(dag: Any) -> None:
    order = [task.task_id for task in dag.topological_sort()]
    assert order == ["night", "collect", "adapt"]
    assert [task.downstream_task_ids for task in dag.topological_sort()] == [
        {"collect"},
        {"adapt"},
        set(),
    ]
    assert dag.get_task("adapt").pool == airflow_settings().gpu_pool
    assert dag.get_task("adapt").execution_timeout is not None
    assert len(FILE.read_text().splitlines()) < 60


def test_a_scheduled_run_learns_what_lies_before_its_own_day() -> None:
    def asked(run_type: str, interval: Any, **params: Any) -> Night:
        return resolve(
            run_type=run_type, params=params, interval=interval, now=NOW, ahead=True
        ).night

    assert asked("scheduled", WEEK) == Night.parse("2026-11-22")  # under way, and not over
    past = (datetime(2017, 11, 12, tzinfo=UTC), datetime(2017, 11, 19, tzinfo=UTC))
    assert asked("backfill", past) == Night.parse("2017-11-19")
    assert asked("manual", WEEK, night="2017-11-20") == Night.parse("2017-11-20")
    with pytest.raises(UsageError, match="names no night"):
        asked("manual", WEEK)
    with pytest.raises(UsageError, match="has not begun"):
        asked("manual", WEEK, night="2026-11-23")
    with pytest.raises(UsageError, match="is not over"):  # what judges still waits for its end
        resolve(run_type="manual", params={"night": "2026-11-22"}, now=NOW)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 2, "BATCH": 2, "LAYERS": 1, "PROBE_ITEMS": 0}.items():
        monkeypatch.setenv(f"NIGHTSHIFT_ADAPT__{name}", str(value))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_by_hand_leaves_an_adapter(quick: None, up: tuple[Settings, str]) -> None:
    settings, _ = up
    api = Api(Place.of(settings))

    run = api.trigger("adapt_generator", {"night": "2017-11-20"})

    assert api.wait(run) == "success", api.why(run)
    made = Lake.of(settings).get("adapter", "night=2017-11-20")
    assert made.inputs["snapshot"].partition == "night=2017-11-20"
    assert {entry.name for entry in made.files} >= {"adapter_config.json", "README.md"}
