"""A whole night through Airflow with every stage in a pod: the same state as with processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from pod_tasks import share
from small_night import small_night

from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY

STATE = "as_of=20171121T000000Z"


def nightly() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nightshift_airflow", "nightly", "--to", "2017-11-20"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def shop(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with small_night(monkeypatch) as settings:
        yield settings


@pytest.mark.slow
def test_a_night_in_pods_leaves_the_state_of_a_night_in_processes(
    cluster: Cluster, shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_processes = nightly()
    expected = Lake.of(shop).get("state", STATE).digest

    share(cluster, shop, monkeypatch)
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", (tmp_path / "lake of pods").as_uri())
    for name, value in {
        "RUNNER": "pod",
        "IMAGE": "shop/worker:1",
        "POLL_SECONDS": "0.2",
        "LOG_SECONDS": "1",
        "STOP_SECONDS": "10",
    }.items():
        monkeypatch.setenv(f"NIGHTSHIFT_AIRFLOW__{name}", value)
    by_pods = nightly()

    assert by_processes.returncode == 0, by_processes.stderr
    assert by_pods.returncode == 0, by_pods.stderr
    lake = Lake.of(Settings.load())
    assert lake.get("state", STATE).digest == expected
    ran = {body["metadata"]["labels"]["nightshift/stage"] for body in cluster.created}
    assert ran == set(NIGHTLY)
    assert cluster.pods == {}
    assert f"{len(cluster.created)} stages did work, 0 were done before" in by_pods.stderr
