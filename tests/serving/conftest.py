"""A lake with three nights of a shop by hand, made once; each test has a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from served_nights import QueryEncoder, Served, three_nights, until

from nightshift.serving.app import create_app
from nightshift.settings import Settings


@pytest.fixture(scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, list[str]]]:
    made = {}
    for repeats in (True, False):
        home = tmp_path_factory.mktemp("nights") / "home"
        made[repeats] = (home, three_nights(home, repeats=repeats))
    return made


@pytest.fixture
def lake_of(_templates, tmp_path: Path) -> Callable[..., Served]:
    """Copies the three nights; nothing is live yet."""

    def copied(*, repeats: bool = True) -> Served:
        template, partitions = _templates[repeats]
        home = tmp_path / f"repeats-{repeats}"
        shutil.copytree(template, home)
        return Served(home, partitions)

    return copied


@pytest.fixture
def served(lake_of: Callable[..., Served]) -> Served:
    return lake_of()


Answering = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def answering() -> Answering:
    """The server of these settings, in this process; waits for the champion if one is live."""

    @contextmanager
    def started(settings: Settings, *, wait: bool = True, **serve: object) -> Iterator[TestClient]:
        app = create_app(settings.with_({"serve": serve}), QueryEncoder())
        with TestClient(app, base_url="http://127.0.0.1") as client:
            if wait:
                until(lambda: client.get("/health").status_code == 200)
            yield client

    return started
