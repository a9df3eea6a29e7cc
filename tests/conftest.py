"""Fixtures that every room shares: a real Postgres, a fresh store and lake, a small real shop."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

# Thread pools read these once, at import.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["NIGHTSHIFT_CONFIG"] = os.devnull  # a developer's own nightshift.toml does not count
for _name in [name for name in os.environ if name.startswith("NIGHTSHIFT_")]:
    if _name != "NIGHTSHIFT_CONFIG" and not _name.startswith("NIGHTSHIFT_TEST_"):
        del os.environ[_name]

import psycopg2  # noqa: E402
import pytest  # noqa: E402
from sqlalchemy import text  # noqa: E402

from nightshift.lake import Lake  # noqa: E402
from nightshift.settings import Settings  # noqa: E402
from nightshift.store import embedded  # noqa: E402
from nightshift.store.engine import begin  # noqa: E402
from nightshift.store.loaders import load  # noqa: E402

SMALL_SINCE, SMALL_UNTIL = date(2017, 10, 1), date(2017, 11, 30)
"""The days of `small_shop`: nights from 2017-11-20 on have a history and a morning after."""
SMALL_HOUSEHOLDS = 150
SMALL_SALES = 5
"""Products sold less often in these days are left out: a catalogue that a test can embed."""
SMALL_TEMPLATE = "small_shop"
PSEUDONYM_KEY = "a key for tests"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data for tests; it is no part of the project."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the test data is not there: {path}")
    return path


class Server:
    """One embedded Postgres for the whole session."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)

    def url(self, database: str) -> str:
        return embedded.url_for(self.settings, database)

    def run(self, statement: str) -> None:
        """One statement outside a transaction, on the maintenance database."""
        socket = embedded.status(self.settings)["socket"]
        with closing(psycopg2.connect(host=socket, user="postgres", dbname="postgres")) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement)

    def fresh(self, template: str = "template0") -> str:
        """The name of a new database; a copy of `template`."""
        name = f"test_{next(_numbers)}"
        self.run(f"create database {name} template {template}")
        return name


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server; stopped at the end, its folder removed."""
    home = Path(tempfile.mkdtemp(prefix="ns-", dir="/tmp"))  # short: sockets have short paths
    running = Server(home)
    embedded.start(running.settings)
    try:
        for name in ("fsync", "full_page_writes"):  # nothing here outlives a power cut
            running.run(f"alter system set {name} = off")
        running.run("select pg_reload_conf()")
        yield running
    finally:
        embedded.stop(running.settings)
        shutil.rmtree(home)


def _settings(url: str, home: Path, patch: pytest.MonkeyPatch) -> Settings:
    """In the environment as well, so that commands and subprocesses see the same settings."""
    patch.setenv("NIGHTSHIFT_HOME", str(home))
    patch.setenv("NIGHTSHIFT_STORE__URL", url)
    patch.setenv("NIGHTSHIFT_STORE__PSEUDONYM_KEY", PSEUDONYM_KEY)
    patch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "1")
    return Settings.load()


@pytest.fixture
def settings(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A fresh home, lake and (empty, not migrated) database."""
    name = server.fresh()
    yield _settings(server.url(name), tmp_path / "home", monkeypatch)
    server.run(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def _small_shop_template(server: Server) -> str:
    made = Settings(home=server.settings.home, store={"url": server.url(SMALL_TEMPLATE)})
    load(
        "complete-journey",
        made,
        households=SMALL_HOUSEHOLDS,
        since=SMALL_SINCE,
        until=SMALL_UNTIL,
        sold_only=True,
    )
    with begin(made) as connection:
        rare = "select item_id from nightshift.events group by item_id having count(*) < :sales"
        for table in ("items", "events"):
            statement = text(f"delete from nightshift.{table} where item_id in ({rare})")
            connection.execute(statement, {"sales": SMALL_SALES})
    return SMALL_TEMPLATE


@pytest.fixture
def small_shop(
    server: Server, _small_shop_template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings whose store holds the 150 busiest households of the default shop over 60 days."""
    name = server.fresh(_small_shop_template)
    yield _settings(server.url(name), tmp_path / "home", monkeypatch)
    server.run(f"drop database {name} with (force)")


class S3:
    """A real S3 protocol on loopback; buckets are the tests' own."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.options: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "key": "test-key",
            "secret": "test-secret",
        }

    def fresh(self) -> str:
        """The root of an empty lake in a bucket of its own."""
        bucket = f"bucket-{next(_numbers)}"
        Lake(f"s3://{bucket}", options=self.options, scratch=Path()).fs.mkdir(bucket)
        return f"s3://{bucket}/lake"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server for the whole session."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line per request otherwise
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield S3(server.get_host_and_port()[1])
    finally:
        server.stop()
