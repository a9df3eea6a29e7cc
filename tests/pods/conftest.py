"""A cluster on loopback, and Airflow in a home of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

for _folder in ("plugins", "dags"):
    sys.path.append(str(Path(__file__).parents[1] / _folder))
import airflow_for_tests  # noqa: E402, F401  # first: it sets Airflow's home

# Read once, when the provider is imported: how patiently Kubernetes' API is asked again.
os.environ |= {
    "AIRFLOW__WORKERS__API_RETRIES": "3",
    "AIRFLOW__WORKERS__API_RETRY_WAIT_MIN": "0.05",
    "AIRFLOW__WORKERS__API_RETRY_WAIT_MAX": "0.1",
}
import pytest  # noqa: E402
from cluster import Cluster  # noqa: E402
from pod_tasks import share  # noqa: E402

from nightshift.settings import Settings  # noqa: E402
from nightshift_airflow.settings import PREFIX, airflow_settings  # noqa: E402


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


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stage's lines in the order in which they come to the task's log."""
    from nightshift_airflow.pods import lines

    found: list[str] = []
    read = lines.fresh

    def recording(*given: Any) -> Any:
        fresh, last = read(*given)
        found.extend(fresh)
        return fresh, last

    monkeypatch.setattr(lines, "fresh", recording)
    return found
