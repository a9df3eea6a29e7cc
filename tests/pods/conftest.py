"""A cluster on loopback, and Airflow in a home of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
import airflow_for_tests  # noqa: F401  # first: it sets Airflow's home

# Read once, when the provider is imported: how patiently Kubernetes' API is asked again.
os.environ |= {
    "AIRFLOW__WORKERS__API_RETRIES": "3",
    "AIRFLOW__WORKERS__API_RETRY_WAIT_MIN": "0.05",
    "AIRFLOW__WORKERS__API_RETRY_WAIT_MAX": "0.1",
}
import pytest
from cluster import Cluster

from nightshift_airflow.settings import PREFIX, airflow_settings


@pytest.fixture(autouse=True)
def _fresh_airflow_settings() -> Iterator[None]:
    airflow_settings.cache_clear()
    yield
    airflow_settings.cache_clear()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose kubeconfig the settings name."""
    made = Cluster()
    made.start()
    monkeypatch.setenv(f"{PREFIX}KUBE_CONFIG", str(made.config(tmp_path / "kubeconfig")))
    try:
        yield made
    finally:
        made.stop()
