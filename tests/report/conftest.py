"""A lake with three made-up nights, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories import NIGHT, make_settings
from made_up_nights import nights_from, write_nights
from nightshift import stages
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings


@pytest.fixture(scope="session")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, list[Night]]:
    """Settings and the nights; every stage up to score is there, and the real report stage ran."""
    folder: Path = tmp_path_factory.mktemp("report")
    settings = make_settings(folder)
    nights = nights_from(NIGHT, 3)
    write_nights(Lake.of(settings), settings, nights)
    for night in nights:
        stages.run("report", night, settings)
    return settings, nights
