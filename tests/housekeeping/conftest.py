"""Six nights and two inner ones, made once; each test gets a copy of its own, on disk or on S3."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_lake import settings_for, write_nights

from nightshift.lake import Lake
from nightshift.settings import Settings

COUNT = 6


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("six") / "home"
    write_nights(settings_for(home), COUNT)
    return home


@pytest.fixture
def six_nights(_template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(_template, tmp_path / "home")
    return settings_for(tmp_path / "home")


@pytest.fixture
def lake(six_nights: Settings) -> Lake:
    return Lake.of(six_nights)


@pytest.fixture
def on_s3(_template: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    s3 = request.getfixturevalue("s3")
    settings = settings_for(tmp_path, lake={"root": s3.fresh(), "options": s3.options})
    lake = Lake.of(settings)
    root = _template / "lake"
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        lake.write_bytes(str(path.relative_to(root)), path.read_bytes())
    return settings
