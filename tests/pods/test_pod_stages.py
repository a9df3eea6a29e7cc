"""A stage as a pod, run for real on the stand-in: the lake decides what it came to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException
from cluster import Cluster
from cluster_faults import PodFault
from pod_tasks import (
    RUN,
    context,
    long_task,
    operator,
    operator_again,
    run_to_end,
    start,
    wait,
    working,
)

from nightshift import stages
from nightshift.lake import Lake
from nightshift.settings import Settings


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
        "NIGHTSHIFT_GENERATE__CHUNK_TARGETS": "1",
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
    cluster: Cluster, lake: None, shown: list[str]
) -> None:
    script = "import time\nfor n in range(4): print(f'row {n}', flush=True); time.sleep(0.9)"
    task = operator(cmds=["python", "-c", script])
    event = wait(start(task, context()))
    before = list(shown)
    with pytest.raises(AirflowException):  # it is no stage
        operator_again(task).trigger_reentry(context(), event)

    assert before[:1] == ["row 0"]
    assert shown == [f"row {number}" for number in range(4)]


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
