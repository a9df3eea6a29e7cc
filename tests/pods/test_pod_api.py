"""Kubernetes' API in trouble: what heals is waited for, what does not is said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from cluster import Cluster
from cluster_faults import ApiFault
from pod_tasks import (
    context,
    operator,
    operator_again,
    place,
    run_to_end,
    start,
    wait,
    wait_for,
    working,
)

from nightshift.settings import Settings


def test_an_api_in_trouble_costs_time_and_nothing_else(cluster: Cluster, shop: Settings) -> None:
    cluster.start_seconds = 4  # long enough for events to be watched
    cluster.api_faults += [
        ApiFault(429, "GET", path="/pods/[^/]+$", times=2, headers={"Retry-After": "0"}),
        ApiFault(500, "GET", path="/pods/[^/]+$", times=2),
        ApiFault(410, "GET", path="watch=", times=2),
        ApiFault(0, "GET", path="watch="),
        ApiFault(503, "POST"),
        ApiFault(None, "DELETE", delay=0.3),
    ]

    done = run_to_end(operator(place=place(startup_seconds=20)), context())

    assert done["worked"] is True
    assert [fault for fault in cluster.api_faults if fault.times] == []
    wait_for(lambda: cluster.pods == {})


def test_an_outage_of_the_api_neither_ends_a_stage_nor_repeats_its_lines(
    cluster: Cluster, lake: None, shown: list[str]
) -> None:
    """Longer than the trigger's own patience: Airflow defers again."""
    script = "import time\nfor n in range(9): print(f'row {n}', flush=True); time.sleep(0.9)"
    task, given = operator(cmds=["python", "-c", script]), context()
    trigger = start(task, given)
    working(cluster)
    time.sleep(1)
    outage = ApiFault(500, "GET", path=f"{trigger.pod_name}$", times=999)
    cluster.api_faults.append(outage)
    event = wait(trigger)
    outage.times = 0
    with pytest.raises(TaskDeferred) as again:
        operator_again(task).trigger_reentry(given, event)
    ended = wait(again.value.trigger)
    with pytest.raises(AirflowException, match="ended well, but"):  # it is no stage
        operator_again(task).trigger_reentry(given, ended)

    assert (event["status"], ended["status"]) == ("error", "success")
    assert shown == [f"row {number}" for number in range(9)]


def test_a_pod_of_which_nothing_is_heard_is_left_to_the_next_try(
    cluster: Cluster, shop: Settings
) -> None:
    task, given = operator(), context()
    event = wait(start(task, given))
    cluster.api_faults.append(ApiFault(500, "GET", path="/pods/", times=3))

    with pytest.raises(AirflowException, match="does not tell what became of the pod") as raised:
        operator_again(task).trigger_reentry(given, event)

    assert "a retry takes the pod up again" in str(raised.value)
    assert len(cluster.pods) == 1
    assert run_to_end(operator(), context(attempt=2))["worked"] is False


def test_a_pod_that_kubernetes_does_not_take_is_not_tried_again(
    cluster: Cluster, lake: None
) -> None:
    broken = place(tolerations=({"kee": "gpu"},))

    with pytest.raises(AirflowFailException, match=r"does not take its pod: spec\.tolerations"):
        start(operator(place=broken), context())


def test_an_account_that_may_not_start_pods(cluster: Cluster, lake: None) -> None:
    cluster.api_faults.append(ApiFault(403, "POST"))

    with pytest.raises(AirflowException, match="the stand-in says 403") as raised:
        start(operator(), context())

    assert not isinstance(raised.value, AirflowFailException)  # a quota has room again, later


def test_without_a_lake_that_pods_reach_nothing_is_started(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    with pytest.raises(AirflowFailException, match="NIGHTSHIFT_LAKE__ROOT"):
        start(operator(), context())

    assert cluster.requests == []
