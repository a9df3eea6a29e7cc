"""The same Airflow home as for the plugin's tests, and a running one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
import airflow_for_tests  # noqa: F401
from running_airflow import command
from small_night import small_night

from nightshift.settings import Settings


@pytest.fixture
def up(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, str]]:
    """Settings of a home whose Airflow is up, and what `make up` printed."""
    with small_night(monkeypatch) as settings:
        try:
            yield settings, command("up")
        finally:
            command("down")
