"""One pod per try of a task, however often it is begun; and none once it is over."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException
from cluster import Cluster
from cluster_faults import ApiFault, PodFault
from pod_tasks import context, long_task, operator, run_to_end, start, wait_for, working

from nightshift.settings import Settings


def test_a_retry_after_a_crash_takes_up_the_running_pod(cluster: Cluster, shop: Settings) -> None:
    start(operator(), context())  # and then the worker, or the whole scheduler, is gone

    again = context(attempt=2)
    done = run_to_end(operator(), again)

    assert len(cluster.created) == 1
    assert done["worked"] is True
    assert again["ti"].pushed["pod_name"] == cluster.created[0]["metadata"]["name"]


def test_a_try_that_is_run_twice_has_one_pod(cluster: Cluster, lake: None) -> None:
    first = start(long_task(), context())
    second = start(long_task(), context())

    assert first.pod_name == second.pod_name
    assert len(cluster.created) == 1


def test_a_request_whose_answer_got_lost_makes_no_second_pod(cluster: Cluster, lake: None) -> None:
    cluster.api_faults.append(ApiFault(0, "POST", after=True))

    start(long_task(), context())

    assert [method for method, _ in cluster.requests].count("POST") == 2
    assert len(cluster.created) == 1


def test_of_two_working_pods_the_older_one_goes_on(cluster: Cluster, lake: None) -> None:
    """As after a split of the network: each try saw no other's pod."""
    older = start(long_task(), context())
    cluster.api_faults.append(ApiFault(None, "GET", path="labelSelector", delay=0))
    hidden = cluster.pods[older.pod_name]["metadata"]["labels"].pop("app")
    time.sleep(1.1)  # the API tells whole seconds
    younger = start(long_task(), context(attempt=2))
    cluster.pods[older.pod_name]["metadata"]["labels"]["app"] = hidden

    third = start(long_task(), context(attempt=3))

    assert third.pod_name == older.pod_name
    wait_for(lambda: younger.pod_name not in cluster.pods)


def test_a_pod_that_is_going_away_is_not_taken_up(cluster: Cluster, lake: None) -> None:
    task, given = long_task(), context()
    start(task, given)
    working(cluster)
    task.on_kill()

    again = start(long_task(), given)  # the same try once more, as after a clear of a stuck one

    wait_for(lambda: len(cluster.created) == 2)
    assert "deletionTimestamp" not in cluster.pods[again.pod_name]["metadata"]


def test_mapped_tasks_and_other_lakes_have_pods_of_their_own(
    cluster: Cluster, lake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {start(long_task(), context(map_index=number)).pod_name for number in (0, 1)}
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", "s3://another")
    names.add(start(long_task(), context(map_index=0)).pod_name)

    assert len(names) == len(cluster.created) == 3


# --- its end by force ---------------------------------------------------------------------------


def test_killing_the_task_deletes_its_pod(cluster: Cluster, lake: None) -> None:
    task = long_task()
    start(task, context())
    working(cluster)

    task.on_kill()

    wait_for(lambda: cluster.pods == {})


def test_killing_a_deferred_task_deletes_its_pod(cluster: Cluster, lake: None) -> None:
    trigger = start(long_task(), context())
    working(cluster)

    asyncio.run(trigger.on_kill())

    wait_for(lambda: cluster.pods == {})


def test_a_pod_that_hangs_ends_with_the_tasks_time(cluster: Cluster, lake: None) -> None:
    cluster.pod_faults.append(PodFault("hang", "collect", when="working"))

    with pytest.raises(AirflowException, match="it ran into its time limit of 3 s"):
        run_to_end(long_task(execution_timeout=timedelta(seconds=3)), context())

    wait_for(lambda: cluster.pods == {})
