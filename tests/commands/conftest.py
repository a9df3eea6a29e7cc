"""A lake with two nights: the first whole, the second up to its inspected samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories import NIGHT, make_settings
from made_up_nights import nights_from, write_night
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings


@pytest.fixture
def two_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, list[Night]]:
    """Settings, in the environment as well, and the nights."""
    settings = make_settings(tmp_path)
    nights = nights_from(NIGHT, 2)
    lake = Lake.of(settings)
    write_night(lake, settings, nights[0])
    write_night(lake, settings, nights[1], number=1, until="inspect")
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "1")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__DEVICE", "cpu")
    return Settings.load(), nights
