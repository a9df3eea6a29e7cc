"""A task with its pod from start to end, as worker and triggerer would run it."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow_context import XComs
from cluster import Cluster

from nightshift.night import Night
from nightshift.settings import Settings
from nightshift_airflow.operators.pod import PodStageOperator
from nightshift_airflow.resolver import Run
from nightshift_airflow.settings import AirflowSettings

RUN = Run(Night.parse("2017-11-20"), first=True)
POLL = 0.1
LONG = "import time; print('working', flush=True); time.sleep(60)"


def place(**changes: Any) -> AirflowSettings:
    """Settings with which nothing waits long."""
    quick: dict[str, Any] = {
        "runner": "pod",
        "image": "shop/worker:1",
        "poll_seconds": POLL,
        "log_seconds": 1,
        "schedule_seconds": 1,
        "startup_seconds": 2,
        "config_error_seconds": 0,
        "stop_seconds": 1,
    }
    return AirflowSettings(**{**quick, **changes})


@dataclass
class TaskInstance(XComs):
    """The part of Airflow's task instance that the operators read."""

    dag_id: str = "nightly"
    task_id: str = "collect"
    run_id: str = "manual__2026-11-21T00:00:00+00:00"
    map_index: int = -1
    try_number: int = 1
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))


def context(stage: str = "collect", *, run: Run = RUN, attempt: int = 1, **of: Any) -> Any:
    """What Airflow hands to a try of a stage's task."""
    ti = TaskInstance({"night": run.to_json()}, task_id=stage, try_number=attempt, **of)
    return {"ti": ti, "run_id": ti.run_id, "dag": DAG(dag_id="nightly"), "outlet_events": {}}


def operator(stage: str = "collect", **kwargs: Any) -> PodStageOperator:
    where = kwargs.pop("place", None) or place()
    with DAG(dag_id="nightly"):
        return PodStageOperator(
            **{"task_id": stage, "stage": stage, "place": where}
            | {"execution_timeout": timedelta(seconds=60)}
            | kwargs
        )


def start(task: PodStageOperator, given: Any) -> Any:
    """Run the worker's first part; the trigger, as the triggerer would get it."""
    try:
        task.execute(given)
    except TaskDeferred as deferred:
        path, kwargs = deferred.trigger.serialize()
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)(**kwargs)
    raise AssertionError("the task was not deferred")


def wait(trigger: Any) -> dict[str, Any]:
    """Run the triggerer's part; the one event that it ends with."""

    async def collected() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collected())
    return dict(event)


def run_to_end(task: PodStageOperator, given: Any) -> dict[str, Any]:
    """A whole try; what it returns, or raises."""
    trigger = start(task, given)
    while True:
        event = wait(trigger)
        try:
            return dict(operator_again(task).trigger_reentry(given, event))
        except TaskDeferred as deferred:
            trigger = deferred.trigger


def operator_again(task: PodStageOperator) -> PodStageOperator:
    """The same task in another process: nothing of the first one's is left."""
    return operator(
        task.stage,
        parts=task.parts,
        place=task.place,
        execution_timeout=task.execution_timeout,
    )


def share(cluster: Cluster, settings: Settings, monkeypatch: Any) -> None:
    """A lake that Airflow and the pods both reach; the store's password in the pods' secret."""
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", settings.lake_root)
    names = ("NIGHTSHIFT_STORE__URL", "NIGHTSHIFT_STORE__PSEUDONYM_KEY")
    cluster.secrets["nightshift"] = {name: os.environ[name] for name in names}


def long_task(**kwargs: Any) -> Any:
    return operator(cmds=["python", "-c", LONG], **kwargs)


def wait_for(true: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def working(cluster: Cluster) -> Any:
    """The one pod, once its container runs."""
    wait_for(lambda: any(p["status"]["phase"] == "Running" for p in cluster.pods.values()))
    (pod,) = cluster.pods.values()
    return pod
