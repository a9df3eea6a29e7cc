"""What a plan is made from besides the lake and the settings is part of its key."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT
from nightshift import stages
from nightshift.generate import fingerprint, strategies
from nightshift.generate.strategies.random_pairs import RandomPairs
from nightshift.lake import Lake
from nightshift.recommend.choosing import candidates
from nightshift.settings import Settings
from nightshift.stages import STAGES

Key = Callable[[dict[str, Any]], str]


class Installed(RandomPairs):
    """A package's own."""

    name = "installed"


@pytest.fixture
def key(lake: Lake, settings: Settings) -> Key:
    """The key of the plan with `generate` changed so."""
    stage = STAGES["plan"]
    inputs = stages.resolve_inputs(stage, lake, NIGHT, settings)
    return lambda changes: stages.key_of(
        stage, NIGHT, settings.with_({"generate": changes}), inputs, {}
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        EntryPoint(name, f"{__name__}:Installed", strategies.ENTRY_POINTS) for name in ["installed"]
    )
    monkeypatch.setattr(strategies, "entry_points", lambda **names: points.select(**names))


def write_all(folder: Path, names: list[str], text: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
    return folder


def test_where_nothing_is_set_up_nothing_is_looked_at(settings: Settings) -> None:
    every_one = settings.with_({"generate": {"strategies": ["all"]}})
    assert fingerprint.models(NIGHT, settings) == {"model": None}
    assert set(fingerprint.models(NIGHT, every_one)) == {"model"}


def test_a_wordnet_is(key: Key, tmp_path: Path) -> None:
    names = ["index.noun", "data.noun", "index.adj", "data.adj"]
    folder = write_all(tmp_path / "wordnet", names, "one")
    used = {"strategies": ["synonyms"], "synonyms": {"wordnet": str(folder)}}
    unused = used | {"strategies": ["negatives"]}
    before = key(used), key(unused)

    (folder / "data.adj").write_text("another")
    assert key(used) != before[0]
    assert key(unused) == before[1]
    (folder / "data.adj").unlink()
    assert key(used) not in before  # whoever reads it will say so


def test_a_pair_of_translators_is(key: Key, settings: Settings, tmp_path: Path) -> None:
    files = ["config.json", "model.safetensors"]
    there, back = (write_all(tmp_path / name, files, name) for name in ("there", "back"))
    pair = {"there": str(there), "back": str(back)}
    used = {"strategies": ["back_translation"], "back_translation": pair}
    unused = used | {"strategies": ["negatives"]}
    before = key(used), key(unused)
    of_tune = candidates.models(NIGHT, settings.with_({"generate": used}))

    (back / "model.safetensors").write_text("another")
    assert key(used) != before[0]
    assert key(unused) == before[1]
    assert candidates.models(NIGHT, settings.with_({"generate": used})) != of_tune
    (back / "config.json").unlink()
    assert key(used) not in before


@pytest.mark.usefixtures("installed")
def test_an_installed_strategys_version_is(
    key: Key, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {"strategies": ["installed", "negatives"]}
    before = key(used), key({})
    of_tune = candidates.models(NIGHT, settings.with_({"generate": used}))

    monkeypatch.setattr(Installed, "version", "2 and more")
    assert key(used) != before[0]
    assert key({}) == before[1]
    assert candidates.models(NIGHT, settings.with_({"generate": used})) != of_tune
