"""A small real shop in a lake, copied for every test, and the language model converted once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT, make_settings, write_snapshot, write_vectors
from nightshift import stages
from nightshift.generate.engines.ctranslate2_engine import CTranslate2Engine
from nightshift.generate.engines.transformers_engine import TransformersEngine
from nightshift.generate.sources import Sources
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import Ran

SMALL: dict[str, Any] = {
    "generate": {
        "strategies": ["text_neighbours", "negatives"],
        "budget": {"samples": 2000, "tokens": 100_000},
        "chunk_targets": 4,
        "shard_targets": 1000,
    }
}


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake holds the snapshot and the vectors of one night."""
    home = tmp_path_factory.mktemp("generate")
    settings = make_settings(home)
    lake = Lake.of(settings)
    snapshot = write_snapshot(lake, settings, households=80, n_items=300, cold_every=10)
    write_vectors(lake, settings, snapshot)
    return home


@pytest.fixture
def home(small_home: Path, tmp_path: Path) -> Path:
    """A copy of `small_home` of the test's own."""
    copy = tmp_path / "home"
    shutil.copytree(small_home, copy)
    return copy


@pytest.fixture
def settings(home: Path) -> Settings:
    return make_settings(home).with_(SMALL)


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.of(settings)


@pytest.fixture
def sources(lake: Lake, settings: Settings) -> Sources:
    return sources_of(lake, settings)


def sources_of(lake: Lake, settings: Settings) -> Sources:
    partition = f"night={NIGHT.key}"
    return Sources(lake, settings, lake.get("snapshot", partition), lake.get("vectors", partition))


@pytest.fixture
def run_all() -> Callable[[Settings], dict[str, Ran]]:
    """Plan, every shard, gather: what `nightshift plan` and `nightshift generate` do."""

    def run(settings: Settings) -> dict[str, Ran]:
        done = {"plan": stages.run("plan", NIGHT, settings)}
        for parts in stages.parts_of("generate", Lake.of(settings), NIGHT, settings):
            done[parts["shard"]] = stages.run("generate", NIGHT, settings, parts)
        return done | {"gather": stages.run("gather", NIGHT, settings)}

    return run


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest) -> Path:
    """Converted language models, kept between runs of the tests: converting takes half a minute."""
    return request.config.cache.mkdir("nightshift-models")


@pytest.fixture
def with_models(home: Path, models: Path) -> Path:
    """The test's home, its model cache being the shared one."""
    (home / "models").symlink_to(models)
    return home


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both local engines compute in float32: how int8 rounds depends on a processor's instructions,
    and a figure of what was written would be that processor's."""
    for engine in (CTranslate2Engine, TransformersEngine):
        monkeypatch.setattr(engine, "compute_type", "float32")
