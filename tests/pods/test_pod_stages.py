"""A stage as a pod, run for real on the stand-in: one pod per try, and the lake decides."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from cluster import Cluster
from cluster_faults import ApiFault, PodFault
from pod_tasks import (
    RUN,
    context,
    operator,
    operator_again,
    place,
    run_to_end,
    share,
    start,
    wait,
)

from nightshift import stages
from nightshift.lake import Lake
from nightshift.settings import Settings

LONG = "import time; print('working', flush=True); time.sleep(60)"


@pytest.fixture
def shop(cluster: Cluster, small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    share(cluster, small_shop, monkeypatch)
    return Settings.load()


@pytest.fixture
def lake(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for pods that are no stages."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", (tmp_path / "lake").as_uri())
    cluster.secrets["nightshift"] = {"NIGHTSHIFT_STORE__PSEUDONYM_KEY": "k"}


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


# --- a stage ------------------------------------------------------------------------------------


def test_a_stage_runs_once_and_returns_where_its_dataset_lies(
    cluster: Cluster, shop: Settings
) -> None:
    first, second = context(), context(attempt=2)

    done = run_to_end(operator(), first)
    again = run_to_end(operator(), second)

    manifest = Lake.of(shop).get("snapshot", "night=2017-11-20")
    assert done["digest"] == again["digest"] == manifest.digest
    assert (done["worked"], again["worked"]) == (True, False)
    assert first["ti"].pushed["return_value"] == done
    assert len(cluster.created) == 2
    assert cluster.pods == {}  # nothing is left behind


def test_a_pod_lost_after_its_work_is_no_loss(cluster: Cluster, shop: Settings) -> None:
    cluster.pod_faults.append(PodFault("vanish", "collect", at_end=True))

    done = run_to_end(operator(), context())

    assert done["digest"] == Lake.of(shop).get("snapshot", "night=2017-11-20").digest
    assert len(cluster.created) == 1


def test_a_dataset_of_another_time_does_not_stand_in_for_a_lost_pod(
    cluster: Cluster, shop: Settings
) -> None:
    stages.run("collect", RUN.night, shop)
    time.sleep(1.1)  # manifests tell whole seconds
    cluster.pod_faults.append(PodFault("vanish", "collect"))

    with pytest.raises(AirflowException, match="its pod is gone"):
        run_to_end(operator(), context())


def test_a_retry_goes_on_where_an_evicted_shard_stopped(
    cluster: Cluster, shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "NIGHTSHIFT_GENERATE__STRATEGIES": '["negatives"]',
        "NIGHTSHIFT_GENERATE__CHUNK_TARGETS": "2",
        "NIGHTSHIFT_GENERATE__BUDGET__SAMPLES": "2000",
        "NIGHTSHIFT_TEXT__MAX_TOKENS": "8",
    }
    for name, value in small.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    for name in ("collect", "embed", "plan"):
        stages.run(name, RUN.night, settings)
    lake = Lake.of(settings)
    chunks = Path(settings.lake_root.removeprefix("file://")) / "chunks"

    def made() -> set[Path]:
        return set(chunks.rglob("*.parquet")) if chunks.is_dir() else set()

    cluster.pod_faults.append(PodFault("evict", "generate", once=lambda: len(made()) >= 5))
    shard = {"shard": "negatives-000"}
    with pytest.raises(AirflowException, match="its pod was evicted"):
        run_to_end(operator("generate", parts=shard), context("generate"))
    kept = {path: path.stat().st_mtime_ns for path in made()}
    assert lake.find("shard", "night=2017-11-20/shard=negatives-000") is None

    resumed = run_to_end(operator("generate", parts=shard), context("generate", attempt=2))

    assert 5 <= len(kept) < len(made())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # not made again
    unbroken = stages.run("generate", RUN.night, settings, shard, force=True).manifest
    assert resumed["digest"] == unbroken.digest


def test_the_stages_lines_come_to_the_log_while_it_works_and_once(
    cluster: Cluster, lake: None, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    script = "import time\nfor n in range(4): print(f'row {n}', flush=True); time.sleep(0.9)"
    task = operator(cmds=["python", "-c", script])
    with caplog.at_level(logging.INFO):
        event = wait(start(task, context()))
        before = capfd.readouterr().out
        with pytest.raises(AirflowException):  # it is no stage
            operator_again(task).trigger_reentry(context(), event)

    said = before + capfd.readouterr().out
    assert "row 0" in before
    assert [said.count(f"row {number}") for number in range(4)] == [1, 1, 1, 1]


def test_a_container_sees_its_pod_and_nothing_of_airflow(
    cluster: Cluster, lake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__GPUS", "0")
    start(long_task(), context())
    working(cluster)

    (beside,) = cluster.beside.values()
    seen = set(beside.environment)
    assert not {name for name in seen if name.startswith(("AIRFLOW", "NIGHTSHIFT_AIRFLOW"))}
    assert seen - {name for name in seen if name.startswith("NIGHTSHIFT_")} == {
        "PATH",
        "PYTHONPATH",
        "HOME",
        "TMPDIR",
        "GX_ANALYTICS_ENABLED",
        "PYTHONUNBUFFERED",
    }
    assert beside.environment["NIGHTSHIFT_STORE__PSEUDONYM_KEY"] == "k"  # from the secret


# --- one pod per try ----------------------------------------------------------------------------


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


# --- an API that does not answer ----------------------------------------------------------------


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
