"""The small shop with fewer products still: its catalogue is encoded within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_nights import FIRST, Shops, keep_popular, settings_for

from nightshift import stages
from nightshift.settings import Settings
from nightshift.store.engine import begin

TEMPLATE = "tiny_shop"


@pytest.fixture(scope="session")
def tiny_template(server, _small_shop_template: str) -> str:
    server.run(f"create database {TEMPLATE} template {_small_shop_template}")
    with begin(Settings(store={"url": server.url(TEMPLATE)})) as connection:
        keep_popular(connection)
    return TEMPLATE


@pytest.fixture(scope="session")
def embeddings(server, tiny_template: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of the catalogue's texts: encoding them takes longest, once is enough."""
    home = tmp_path_factory.mktemp("encoded")
    name = server.fresh(tiny_template)
    settings = settings_for(server.url(name), home)
    for stage in ("collect", "embed"):
        stages.run(stage, FIRST, settings)
    server.run(f"drop database {name} with (force)")
    return home / "lake" / "embeddings"


@pytest.fixture(scope="module")
def shops(
    server, tiny_template: str, embeddings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shops]:
    made = Shops(server, tiny_template, embeddings, tmp_path_factory)
    yield made
    for name in made.databases:
        server.run(f"drop database {name} with (force)")
