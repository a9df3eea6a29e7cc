"""A stage as a pod, run for real on the stand-in: one pod per try, and the lake decides."""

from __future__ import annotations

import pytest
from cluster import Cluster
from pod_tasks import context, operator, run_to_end, share

from nightshift.lake import Lake
from nightshift.settings import Settings


@pytest.fixture
def shop(cluster: Cluster, small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    share(cluster, small_shop, monkeypatch)
    return Settings.load()


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
