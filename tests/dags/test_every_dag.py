"""What holds for every DAG of the project."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow_for_tests import PROJECT

from nightshift_airflow.alerts import Alert

DAGS = {"adapt_generator", "housekeeping", "nightly", "nightly_range", "promote", "smoke"}
BAG = DagBag(str(PROJECT / "dags"))


@pytest.fixture(params=sorted(DAGS))
def dag(request: pytest.FixtureRequest) -> Any:
    return BAG.dags[request.param]


def test_every_file_parses() -> None:
    assert BAG.import_errors == {}
    assert set(BAG.dags) == DAGS


def test_it_explains_itself(dag: Any) -> None:
    assert dag.doc_md.strip().startswith("### ")
    assert dag.description
    assert dag.tags == {"nightshift"}


def test_it_starts_paused(dag: Any) -> None:
    """A shop whose data lies in 2017 must not be scheduled by surprise."""
    assert dag.is_paused_upon_creation is True
    assert dag.catchup is False


def test_its_tasks_have_an_owner_and_say_what_went_wrong(dag: Any) -> None:
    for task in dag.tasks:
        assert task.owner == "nightshift"
        if task.task_id != "generate":  # `gather` counts its shards
            callbacks = task.on_failure_callback
            assert [type(one) for one in callbacks] == [Alert], task.task_id


def test_its_tasks_end(dag: Any) -> None:
    """Each has a limit, or waits for something that has one of its own."""
    for task in dag.tasks:
        own_limit = task.task_id in ("ask", "wait_for_parent")
        light = task.task_type in ("_PythonDecoratedOperator", "TriggerDagRunOperator")
        assert task.execution_timeout is not None or own_limit or light, task.task_id


def test_parameters_of_a_form_have_a_title_and_a_meaning(dag: Any) -> None:
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema.get("title"), name
        assert param.description, name
