"""One whole night with the lake on S3 and the store on a Postgres of the shop's own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from whole_nights import FIRST, PSEUDONYM_KEY, TINY, datasets, digests, keep_popular

from nightshift.lake import Lake
from nightshift.nights import run_night
from nightshift.settings import Settings
from nightshift.store import embedded
from nightshift.store.engine import begin
from nightshift.store.loaders import load

DEBIAN = Path("/usr/lib/postgresql")
DATES = {"since": date(2017, 10, 1), "until": date(2017, 11, 30)}


def _programs() -> Path:
    """A distribution's Postgres where there is one; else another server of the wheel's."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else embedded._bin()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[str]:
    """The URL of a server that Nightshift did not start: TCP on loopback, with a password."""
    programs, password = _programs(), secrets.token_urlsafe(9)
    folder = Path(tempfile.mkdtemp(prefix="nspg-", dir="/tmp"))
    who: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:
        owner = embedded._owner()
        assert owner is not None
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        who |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        with (folder / f"{program}.out").open("wb") as out:
            line = [str(programs / program), *arguments]
            subprocess.run(line, check=True, stdout=out, stderr=out, timeout=120, **who)

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
        f"--pwfile={folder / 'password'}")  # fmt: skip
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/data/log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg2://shop:{password}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def elsewhere(
    own_postgres: str, s3: Any, embeddings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """The same shop there, loaded by its loader."""
    root = s3.fresh()
    settings = Settings.load(TINY).with_(
        {
            "home": str(tmp_path_factory.mktemp("pod")),
            "store": {"url": own_postgres, "pseudonym_key": PSEUDONYM_KEY},
            "lake": {"root": root, "options": s3.options},
        }
    )
    load("complete-journey", settings, households=150, sold_only=True, **DATES)
    with begin(settings) as connection:
        keep_popular(connection)
    lake = Lake.of(settings)
    for path in embeddings.rglob("*.parquet"):
        lake.write_bytes(f"embeddings/{path.relative_to(embeddings)}", path.read_bytes())
    run_night(FIRST, settings, told=lambda ran: None)
    return settings


def test_every_dataset_is_there_and_whole(elsewhere: Settings, tmp_path: Path):
    another_pod = Lake(
        elsewhere.lake_root, options=elsewhere.lake.open_options, scratch=tmp_path / "empty"
    )
    for manifest in datasets(elsewhere, FIRST).values():
        assert another_pod.verify(manifest) == []
    assert not (elsewhere.home_path / "lake").exists()
    assert not (elsewhere.home_path / "postgres").exists()


def test_a_pod_with_an_empty_disk_has_nothing_to_do(elsewhere: Settings, tmp_path: Path):
    pod = elsewhere.with_({"home": str(tmp_path)})
    assert not any(ran.worked for ran in run_night(FIRST, pod, told=lambda ran: None))


def test_recommendations_are_in_the_shops_own_database(elsewhere: Settings):
    with begin(elsewhere) as connection:
        version = connection.execute(text("show server_version")).scalar_one()
        users = connection.execute(
            text("select count(distinct user_id) from nightshift.recommendations")
        ).scalar_one()
    scored = datasets(elsewhere, FIRST)["score"].stats["users"]
    assert users == scored > 100, version


def test_the_place_changes_no_digest(elsewhere: Settings, shops, tmp_path: Path):
    """The same shop, key and settings on this machine's disk and the embedded server."""
    here = shops.fresh()
    run_night(FIRST, here, told=lambda ran: None)

    expected, found = digests(here, FIRST), digests(elsewhere, FIRST)

    assert {k: v for k, v in found.items() if k != "report"} == {
        k: v for k, v in expected.items() if k != "report"
    }
