"""A lake with one whole night and one under way, and the Airflow home of the plugin's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
import airflow_for_tests  # noqa: F401  # first: it sets Airflow's home
import pytest

from factories import NIGHT, make_settings
from made_up_nights import nights_from, write_night
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry.alias import move_alias
from nightshift.settings import Settings
from nightshift.stages import state_partition
from nightshift_airflow.settings import airflow_settings


@pytest.fixture(autouse=True)
def _fresh_airflow_settings() -> Iterator[None]:
    airflow_settings.cache_clear()
    yield
    airflow_settings.cache_clear()


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, list[Night]]:
    """The first night whole and live, the second up to its inspected samples."""
    settings = make_settings(tmp_path)
    lake, found = Lake.of(settings), nights_from(NIGHT, 2)
    write_night(lake, settings, found[0])
    write_night(lake, settings, found[1], number=1, until="inspect")
    move_alias(lake, lake.get("state", state_partition(found[0].end)), "blend", found[0])
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "1")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__DEVICE", "cpu")
    return settings, found
