"""What the tests of whole nights share: tiny settings, and what lies in a lake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, make_url, text

from nightshift import stages
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES

FIRST, SECOND = Night.parse("2017-11-20"), Night.parse("2017-11-21")
PSEUDONYM_KEY = "a key for tests"
SALES = 14
"""Products sold less often are left out."""
LEARNERS = (
    "snapshot",
    "vectors",
    "plan",
    "shard",
    "samples",
    "inspection",
    "recipe",
    "blend",
    "arm",
)
"""Datasets of everything that learns; what lies in the night is not for them."""

TINY: dict[str, Any] = {
    "compute": {"threads": 1, "device": "cpu"},
    "night": {"first": FIRST.start.isoformat()},
    "generate": {
        "strategies": ["text_neighbours", "negatives"],
        "budget": {"samples": 1500},
        "chunk_targets": 20,
    },
    "finetune": {
        "model": {
            "dim": 16, "layers": 1, "heads": 1, "max_length": 20, "features": 32, "dropout": 0.0
        },
        "learning_rate": 0.01,
        "first_steps": 30,
        "warm_steps": 10,
        "refresh_passes": 1,
        "batch": 32,
        "negatives": 64,
        "full_softmax": 0,
        "query_steps": 5,
    },
    # Samples must earn their weight on cold items: many of those, and little asked in return.
    "tune": {
        "steps": 300,
        "withhold": 0.3,
        "weights": [3.0],
        "scopes": ["all"],
        "betas": [0.0],
        # Else new items have their places already, and samples earn nothing here.
        "leans": [0.0],
        "follows": [0.0],
        "gammas": [0.0],
        "max_loss": 10.0,
    },
    "evaluate": {"resamples": 200, "min_users": 10},
}  # fmt: skip


def settings_for(url: str, home: Path, **changes: Any) -> Settings:
    """Tiny settings of a store and a home."""
    store = {"store": {"url": url, "pseudonym_key": PSEUDONYM_KEY}, "home": str(home)}
    return Settings.load(TINY).with_(store | changes)


def keep_popular(connection: Connection) -> None:
    """A catalogue that is encoded within seconds."""
    rare = "select item_id from nightshift.events group by item_id having count(*) < :sales"
    for table in ("items", "events"):
        statement = text(f"delete from nightshift.{table} where item_id in ({rare})")
        connection.execute(statement, {"sales": SALES})


class Shops:
    """Makes shops: a database and a home each."""

    def __init__(
        self, server, template: str, embeddings: Path, folder: pytest.TempPathFactory
    ) -> None:
        self.server, self.template, self.folder = server, template, folder
        self.embeddings = embeddings
        self.databases: list[str] = []

    def fresh(self) -> Settings:
        """The small shop, and a lake that has nothing but the vectors of its texts."""
        home = self._home()
        shutil.copytree(self.embeddings, home / "lake" / "embeddings")
        return self._made(self.template, home)

    def like(self, settings: Settings) -> Settings:
        """A copy of a shop as it stands, of its store and of its lake."""
        assert settings.store.url is not None
        home = self._home()
        shutil.copytree(settings.home_path, home)
        return self._made(make_url(settings.store.url.get_secret_value()).database or "", home)

    def _home(self) -> Path:
        return self.folder.mktemp("home") / "home"

    def _made(self, template: str, home: Path) -> Settings:
        self.databases.append(self.server.fresh(template))
        return settings_for(self.server.url(self.databases[-1]), home)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """The same settings for a process of its own: a file, and what is secret in variables."""
    assert settings.store.url is not None
    path = folder / "nightshift.toml"
    path.write_text(_toml(TINY))
    return {
        "NIGHTSHIFT_CONFIG": str(path),
        "NIGHTSHIFT_HOME": str(settings.home_path),
        "NIGHTSHIFT_STORE__URL": settings.store.url.get_secret_value(),
        "NIGHTSHIFT_STORE__PSEUDONYM_KEY": PSEUDONYM_KEY,
    }


def _toml(tree: dict[str, Any], prefix: str = "") -> str:
    plain = {k: v for k, v in tree.items() if not isinstance(v, dict)}
    lines = [f"[{prefix}]"] if prefix else []
    lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, below in tree.items():
        if isinstance(below, dict):
            lines.append(_toml(below, f"{prefix}.{name}" if prefix else name))
    return "\n".join(lines)


def datasets(settings: Settings, night: Night) -> dict[str, Manifest]:
    """Every dataset of a night, by stage and parts; a missing one raises."""
    lake = Lake.of(settings)
    return {
        "/".join([name, *parts.values()]): lake.get(stage.dataset, stage.partition(night, parts))
        for name, stage in ((name, STAGES[name]) for name in NIGHTLY)
        for parts in stages.parts_of(name, lake, night, settings)
    }


def digests(settings: Settings, night: Night) -> dict[str, str]:
    return {name: found.digest for name, found in datasets(settings, night).items()}


def files_with(folder: Path, wanted: Iterable[str]) -> dict[str, list[str]]:
    """Which of the words stand in which files: text in Parquet cells, bytes in all others."""
    words = list(wanted)
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = _text_of(path)
        hits = [word for word in words if word.encode() in content]
        if hits:
            found[str(path.relative_to(folder))] = hits
    return found


def _text_of(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    frame = pl.read_parquet(path, glob=False)
    binary = frame.select(pl.col(pl.Binary))
    text = frame.select(pl.exclude(pl.Binary))
    return text.write_ndjson().encode() + b"".join(
        b"".join(v for v in column if v is not None) for column in binary
    )
