"""One stage as a pod through Airflow's own task runner and trigger, and a sweep inside a task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster
from pod_tasks import context, long_task, share, start

from nightshift.lake import Lake
from nightshift.settings import Settings


def airflow(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=300
    )


def test_a_pod_and_a_sweep_in_a_real_run(
    cluster: Cluster, small_shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(cluster, small_shop, monkeypatch)
    for name, value in {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent),
        "NIGHTSHIFT_AIRFLOW__RUNNER": "pod",
        "NIGHTSHIFT_AIRFLOW__IMAGE": "shop/worker:1",
        "NIGHTSHIFT_AIRFLOW__POLL_SECONDS": "0.2",
        "NIGHTSHIFT_AIRFLOW__LOG_SECONDS": "1",
        "NIGHTSHIFT_AIRFLOW__RETRIES": "0",
        "SWEPT": str(tmp_path / "swept"),
    }.items():
        monkeypatch.setenv(name, value)
    forgotten = start(  # of a run that Airflow knows nothing of
        long_task(), context()
    ).pod_name
    migrated = airflow("-m", "airflow", "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr

    done = airflow(str(Path(__file__).with_name("pod_dag.py")))

    assert done.returncode == 0, done.stdout + done.stderr
    assert Lake.of(small_shop).find("snapshot", "night=2017-11-20") is not None
    swept = json.loads((tmp_path / "swept").read_text())
    assert swept["alive"] == {"collect": False, "sweep": True, "no_such_task": False}
    assert swept["reaped"]["deleted"] == [forgotten]
    assert len(cluster.created) == 2


def test_the_night_parses_with_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow_for_tests import PROJECT

    from nightshift.stages import NIGHTLY

    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__RUNNER", "pod")
    bag = DagBag(str(PROJECT / "dags"))

    assert bag.import_errors == {}
    kinds = {task.task_id: task.task_type for task in bag.dags["nightly"].tasks}
    assert {kinds[name] for name in NIGHTLY} == {"PodStageOperator"}
