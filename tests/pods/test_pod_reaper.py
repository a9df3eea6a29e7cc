"""Pods that were left behind are deleted; what is still wanted, or another's, is left alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from cluster_faults import ApiFault
from kubernetes.client import ApiException
from pod_tasks import context, long_task, place, start

from nightshift_airflow.pods import living
from nightshift_airflow.pods.living import task_is_alive
from nightshift_airflow.pods.reaper import reap

pytestmark = pytest.mark.usefixtures("lake")


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    living.forget()


def left_behind(**of: Any) -> str:
    name: str = start(long_task(), context(**of)).pod_name
    return name


def nobody(who: Mapping[str, str]) -> bool:
    return False


def gone(cluster: Cluster, name: str) -> bool:
    deadline = time.monotonic() + 20
    while name in cluster.pods and time.monotonic() < deadline:
        time.sleep(0.02)
    return name not in cluster.pods


def test_a_pod_whose_task_is_over_is_deleted(cluster: Cluster) -> None:
    over, going_on = left_behind(map_index=0), left_behind(map_index=1)
    asked: list[dict[str, str]] = []

    def alive(who: Mapping[str, str]) -> bool:
        asked.append(dict(who))
        return who["map_index"] == "1"

    found = reap(place(), alive=alive, grace_seconds=0)

    assert found == {"seen": 2, "alive": 1, "young": 0, "deleted": [over], "failed": []}
    assert asked[0] == {
        "dag_id": "nightly",
        "run_id": "manual__2026-11-21T00:00:00+00:00",  # in full, as no label could hold it
        "task_id": "collect",
        "map_index": "0",
        "try_number": "1",
    }
    assert gone(cluster, over)
    assert going_on in cluster.pods


def test_a_young_pod_is_left_alone(cluster: Cluster) -> None:
    name = left_behind()

    found = reap(place(), alive=nobody, grace_seconds=600)

    assert (found["young"], found["deleted"]) == (1, [])
    assert name in cluster.pods


def test_a_dry_sweep_deletes_nothing(cluster: Cluster) -> None:
    name = left_behind()

    assert reap(place(), alive=nobody, grace_seconds=0, dry=True)["deleted"] == [name]
    assert "deletionTimestamp" not in cluster.pods[name]["metadata"]


def test_pods_of_others_are_not_looked_at(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind()
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", (tmp_path / "another").as_uri())

    assert reap(place(), alive=nobody, grace_seconds=0)["seen"] == 0


def test_a_question_without_an_answer_deletes_nothing(cluster: Cluster) -> None:
    names = {left_behind(map_index=number) for number in (0, 1)}

    def alive(who: Mapping[str, str]) -> bool:
        if who["map_index"] == "1":
            raise ConnectionError("the API server does not answer")
        return False

    with pytest.raises(ConnectionError):
        reap(place(), alive=alive, grace_seconds=0)

    assert set(cluster.pods) == names
    assert not any("deletionTimestamp" in pod["metadata"] for pod in cluster.pods.values())


def test_a_pod_that_cannot_be_deleted_is_named(cluster: Cluster) -> None:
    first, second = sorted(left_behind(map_index=number) for number in (0, 1))
    cluster.api_faults.append(ApiFault(403, "DELETE", path=first))

    found = reap(place(), alive=nobody, grace_seconds=0)

    assert (found["deleted"], found["failed"]) == ([second], [first])


def test_pods_that_cannot_be_listed_are_an_error(cluster: Cluster) -> None:
    cluster.api_faults.append(ApiFault(403, "GET"))

    with pytest.raises(ApiException):
        reap(place(), alive=nobody, grace_seconds=0)


# --- what Airflow says --------------------------------------------------------------------------


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What Airflow's API server would answer, in its shape."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    known: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(
        RuntimeTaskInstance, "get_task_states", staticmethod(lambda **asked: dict(known))
    )
    return known


def who(task: str, map_index: int = -1) -> dict[str, str]:
    mapped = str(map_index)
    return {"dag_id": "d", "run_id": "r", "task_id": task, "map_index": mapped, "try_number": "1"}


@pytest.mark.parametrize(
    ("state", "is_alive"),
    [
        ("running", True),
        ("deferred", True),
        ("up_for_retry", True),  # its next try takes the pod up
        ("queued", True),
        (None, True),  # cleared, and not scheduled yet
        ("success", False),
        ("failed", False),
        ("removed", False),
    ],
)
def test_a_task_is_alive_until_it_is_over(
    states: dict[str, dict[str, Any]], state: str | None, is_alive: bool
) -> None:
    states["r"] = {"collect": state, "generate_3": state}

    assert task_is_alive(who("collect")) is is_alive
    assert task_is_alive(who("generate", 3)) is is_alive


def test_a_task_that_airflow_does_not_know_is_not_alive(states: dict[str, Any]) -> None:
    assert task_is_alive(who("collect")) is False
