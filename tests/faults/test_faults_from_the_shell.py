"""What breaks, seen from a shell: an exit code, one clear line, no half dataset."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightshift.lake import Lake
from nightshift.settings import Settings
from small_disk import mounted

NIGHT = ["--night", "2017-11-20"]
PASSWORD = "hunter2-pw"


def nightshift(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a person or a pod runs it."""
    return subprocess.run(
        [sys.executable, "-m", "nightshift.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that says what went wrong and the way out."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("nightshift: ")
    assert "Hint: " in line
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr
    return line


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "1")
    return tmp_path


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "leases" not in path.parts]


# --- the store --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["collect", *NIGHT, "--first"], ["store", "migrate"]])
def test_a_store_that_does_not_answer(home: Path, command: list[str]):
    url = f"postgresql+psycopg2://shop:{PASSWORD}@127.0.0.1:{closed_port()}/shop"
    started = time.monotonic()

    line = refused(nightshift(*command, NIGHTSHIFT_STORE__URL=url), 10)

    assert time.monotonic() - started < 60
    assert "cannot be reached" in line
    assert "NIGHTSHIFT_STORE__URL" in line
    assert files_below(home) == []


def test_a_database_that_is_not_there(settings: Settings):
    assert settings.store.url is not None
    url = settings.store.url.get_secret_value().replace("/test_", "/no_such_")
    line = refused(nightshift("collect", *NIGHT, "--first", NIGHTSHIFT_STORE__URL=url), 10)
    assert "does not exist" in line


def test_a_store_without_the_contract_views(settings: Settings):
    line = refused(nightshift("collect", *NIGHT, "--first"), 10)
    assert "nightshift store migrate" in line


@pytest.mark.parametrize("url", ["mysql://shop@db/shop", "no url at all"])
def test_a_url_of_no_postgres(home: Path, url: str):
    line = refused(nightshift("collect", *NIGHT, "--first", NIGHTSHIFT_STORE__URL=url), 2)
    assert "store.url" in line


def test_a_store_without_events_before_the_night(settings: Settings):
    assert nightshift("store", "migrate").returncode == 0
    line = refused(nightshift("collect", *NIGHT, "--first"), 20)
    assert "no events before 2017-11-20" in line
    assert "nightshift load" in line


# --- the lake ---------------------------------------------------------------------------------


def test_a_lake_that_does_not_answer(home: Path):
    options = {
        "endpoint_url": f"http://127.0.0.1:{closed_port()}",
        "key": "k",
        "secret": PASSWORD,
    }
    started = time.monotonic()
    place = {
        "NIGHTSHIFT_LAKE__ROOT": "s3://b/lake",
        "NIGHTSHIFT_LAKE__OPTIONS": json.dumps(options),
    }

    line = refused(nightshift("gather", *NIGHT, **place), 11)

    assert time.monotonic() - started < 60
    assert "s3://b/lake" in line


def test_a_bucket_that_is_not_there(home: Path, s3: Any, small_shop: Settings):
    place = {
        "NIGHTSHIFT_LAKE__ROOT": "s3://nobodys/lake",
        "NIGHTSHIFT_LAKE__OPTIONS": json.dumps(s3.options),
    }
    assert "bucket" in refused(nightshift("collect", *NIGHT, "--first", **place), 11)


def test_a_lake_root_that_is_a_file(small_shop: Settings, tmp_path: Path):
    (tmp_path / "file").touch()
    root = {"NIGHTSHIFT_LAKE__ROOT": (tmp_path / "file").as_uri()}
    assert "lake" in refused(nightshift("collect", *NIGHT, "--first", **root), 11)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "200k") as folder:
        yield folder


def test_a_full_disk_is_no_dataset_and_with_more_room_it_goes_on(
    small_shop: Settings, small_disk: Path
):
    root = {"NIGHTSHIFT_LAKE__ROOT": (small_disk / "lake").as_uri()}

    line = refused(nightshift("collect", *NIGHT, "--first", **root), 14)

    assert "No space left" in line
    assert "stage collect, night 2017-11-20" in line
    lake = Lake((small_disk / "lake").as_uri(), scratch=small_disk / "scratch")
    assert lake.find("snapshot", "night=2017-11-20") is None
    assert not list(small_disk.rglob("_manifest.json"))
    assert list(lake.scratch.iterdir()) == []

    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    done = nightshift("collect", *NIGHT, "--first", **root)
    assert done.returncode == 0, done.stderr
    assert lake.verify(lake.get("snapshot", "night=2017-11-20")) == []


def test_a_damaged_file_stops_the_next_stage(small_shop: Settings):
    assert nightshift("collect", *NIGHT, "--first").returncode == 0
    lake = Lake.of(small_shop)
    entry = lake.get("snapshot", "night=2017-11-20").file("items.parquet")
    path = Path(lake.root.removeprefix("file://")) / entry.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))

    line = refused(nightshift("embed", *NIGHT, "--first"), 11)

    assert "items.parquet is missing or does not match its checksum" in line
    assert lake.find("vectors", "night=2017-11-20") is None


# --- what was asked for -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "needs"), [("embed", "collect"), ("inspect", "collect"), ("gather", "plan")]
)
def test_a_stage_before_has_not_run(home: Path, stage: str, needs: str):
    line = refused(nightshift(stage, *NIGHT), 12)
    assert f"nightshift {needs} --night 2017-11-20" in line


@pytest.mark.parametrize("stage", ["generate", "finetune"])
def test_stages_of_parts_need_what_names_their_parts(home: Path, stage: str):
    refused(nightshift(stage, *NIGHT), 12)


def test_an_unknown_setting(home: Path):
    assert "score.topn" in refused(nightshift("score", *NIGHT, "--set", "score.topn=3"), 2)
    assert "score.topn" in refused(nightshift("score", *NIGHT, NIGHTSHIFT_SCORE__TOPN="3"), 2)
    (home / "own.toml").write_text("[score]\ntopn = 3\n")
    own = {"NIGHTSHIFT_CONFIG": str(home / "own.toml")}
    assert "score.topn" in refused(nightshift("score", *NIGHT, **own), 2)


def test_no_state_to_start_from(small_shop: Settings):
    line = refused(nightshift("night", "--start", "2017-11-20"), 40)
    assert "2017-11-20 00:00 UTC" in line
    assert "--first" in line
    assert files_below(Path(small_shop.home_path) / "lake") == []


def test_a_night_of_wrong_length(home: Path):
    refused(nightshift("collect", "--night", "2017-11-20/2017-11-20"), 2)
    refused(nightshift("night", "--start", "2017-11-20", "--end", "2017-11-19"), 2)


def test_a_missing_encoder(small_shop: Settings, tmp_path: Path):
    assert nightshift("collect", *NIGHT, "--first").returncode == 0
    wrong = ["--set", f"text.encoder={tmp_path}"]
    assert "config.json" in refused(nightshift("embed", *NIGHT, "--first", *wrong), 2)
