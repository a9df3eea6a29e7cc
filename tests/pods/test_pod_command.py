"""A command that is no stage, as a pod: its exit status counts, and its last line is the cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from cluster import Cluster
from pod_tasks import context, place, start, wait

from nightshift.settings import Settings
from nightshift_airflow.operators.pod_command import PodCommandOperator


def task(*command: str) -> PodCommandOperator:
    with DAG(dag_id="smoke"):
        return PodCommandOperator(
            task_id="worker",
            command=command,
            place=place(gpus=1),
            execution_timeout=timedelta(seconds=60),
        )


def run(*command: str) -> Any:
    given = context("worker")
    event = wait(start(task(*command), given))
    return task(*command).trigger_reentry(given, event)  # another process, as in Airflow


def test_a_check_sees_what_a_stage_sees(cluster: Cluster, shop: Settings) -> None:
    assert run("doctor", "--only", "store", "lake") is None

    (pod,) = cluster.created
    container = pod["spec"]["containers"][0]
    assert container["args"] == ["doctor", "--only", "store", "lake"]
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert cluster.pods == {}


def test_a_check_that_fails_says_what_it_found(cluster: Cluster, shop: Settings) -> None:
    with pytest.raises(AirflowException, match=r"doctor: .*encoding: text.encoder /no-such-model"):
        run("doctor", "--only", "encoder", "--set", "text.encoder=/no-such-model")
    assert cluster.pods == {}


def test_a_wrong_command_is_not_tried_again(cluster: Cluster, shop: Settings) -> None:
    with pytest.raises(AirflowFailException, match="no_such"):
        run("doctor", "--only", "lake", "--set", "no_such.setting=1")
