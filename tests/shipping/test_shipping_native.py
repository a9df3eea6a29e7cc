"""The services of docker-compose.yaml as processes: their commands, environment, health checks.

Hosts become 127.0.0.1, folders of the image a temporary one, Postgres the embedded server, the
object store a real S3 protocol. Nothing else is changed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from compose_file import COMPONENTS, ROOT, SECRETS, resolved

READY_SECONDS = 240
IN_IMAGE = re.compile(r"^ENV ((?:.*\\\n)*.*)$", re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with closing(socket.socket()) as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def image_environment() -> dict[str, str]:
    """What the Dockerfile's `runtime` stage sets."""
    stage = (ROOT / "Dockerfile").read_text().split(" AS runtime\n")[1].split("\nFROM ")[0]
    words = " ".join(IN_IMAGE.findall(stage)).replace("\\\n", " ").split()
    return dict(word.split("=", 1) for word in words)


class Stack:
    """The services of the file, started here."""

    def __init__(self, home: Path, server: Any, endpoint: str) -> None:
        self.home = home
        self.port = free_port()
        airflow, shop = server.url(server.fresh()), server.url(server.fresh())
        self._instead = {
            "postgresql+psycopg2://airflow:postgres-hush@postgres/airflow": airflow,
            "postgresql+psycopg2://airflow:postgres-hush@postgres/shop": shop,
            "http://object-store:8333": endpoint,
            "airflow-apiserver": "127.0.0.1",
            "/opt/airflow": str(home / "airflow"),
            "/opt/nightshift": str(ROOT),
            "/var/lib/nightshift": str(home / "nightshift"),
            "8080": str(self.port),
            "8974": str(free_port()),
        }
        self.services: dict[str, Any] = self._mapped(resolved()["services"])
        self._image = self._mapped(image_environment())
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._mapped(below) for key, below in value.items()}
        if isinstance(value, list):
            return [self._mapped(below) for below in value]
        for there, here in self._instead.items():
            value = value.replace(there, here) if isinstance(value, str) else value
        return value

    def environment(self, name: str) -> dict[str, str]:
        """Of a container of this service, less what only this machine adds: PATH and the source."""
        here = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in ("include", "plugins")),
            "PYTHONWARNINGS": "ignore",
            "HOME": str(self.home),
            "AIRFLOW__API__HOST": "127.0.0.1",  # nothing listens beyond loopback here
        }
        return self._image | self.services[name]["environment"] | here

    def run(
        self, name: str, command: list[str], **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """A command inside the service, to its end."""
        return subprocess.run(
            command,
            env=self.environment(name),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def start(self, name: str) -> None:
        with self.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                self.services[name]["command"],
                env=self.environment(name),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_healthy(self, name: str) -> None:
        """Until the service's own check passes."""
        check = self.services[name]["healthcheck"]
        seconds = float(check["timeout"].removesuffix("s"))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self._running[name].poll() is None, self.log(name).read_text()[-2000:]
            with suppress(subprocess.TimeoutExpired):  # late counts as failed, as in a container
                if self.run(name, check["test"][1:], timeout=seconds).returncode == 0:
                    return
            time.sleep(1)
        raise AssertionError(f"{name} is not healthy: {self.log(name).read_text()[-2000:]}")

    def stop(self) -> None:
        family = []
        for one in self._running.values():
            with suppress(psutil.NoSuchProcess):
                top = psutil.Process(one.pid)
                family += [top, *top.children(recursive=True)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            _, family = psutil.wait_procs(family, timeout=15)
        for one in self._running.values():
            one.wait()


@pytest.fixture
def stack(tmp_path: Path, server: Any, s3: Any) -> Iterator[Stack]:
    made = Stack(tmp_path, server, s3.endpoint)
    for folder in ("airflow", "nightshift"):
        (tmp_path / folder).mkdir()
    try:
        yield made
    finally:
        made.stop()


def login(port: int, user: Mapping[str, str]) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/auth/token",
        data=json.dumps(user).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        status: int = answer.status
        return status


def test_the_services_start_get_healthy_and_know_the_dags(stack: Stack) -> None:
    init = stack.services["airflow-init"]
    for _ in range(2):  # the second time there is nothing to do
        done = stack.run("airflow-init", init["command"])
        assert done.returncode == 0, done.stderr[-2000:]
        assert "bucket nightshift is there" in done.stdout
        assert SECRETS["ADMIN_PASSWORD"] not in done.stdout + done.stderr
    passwords = stack.home / "airflow" / "passwords.json"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600

    stack.start("airflow-apiserver")
    stack.start("airflow-dag-processor")
    stack.wait_healthy("airflow-apiserver")
    stack.start("airflow-scheduler")
    stack.start("airflow-triggerer")
    for name in COMPONENTS:
        stack.wait_healthy(name)

    assert login(stack.port, {"username": "admin", "password": SECRETS["ADMIN_PASSWORD"]}) == 201
    pool = stack.run("airflow-cli", ["airflow", "pools", "get", "gpu", "-o", "json"])
    assert json.loads(pool.stdout)[0]["slots"] in (1, "1")
    deadline = time.monotonic() + READY_SECONDS
    names: set[str] = set()
    while names != {"nightly", "nightly_range"} and time.monotonic() < deadline:
        listed = stack.run("airflow-cli", ["airflow", "dags", "list", "-o", "json"])
        with suppress(ValueError):
            names = {one["dag_id"] for one in json.loads(listed.stdout)}
    assert {"nightly", "nightly_range"} <= names, listed.stdout + listed.stderr
    errors = stack.run("airflow-cli", ["airflow", "dags", "list-import-errors", "-o", "json"])
    assert json.loads(errors.stdout or "[]") == [], errors.stdout
    doctor = stack.run("airflow-scheduler", ["nightshift", "doctor"])
    assert "s3://nightshift/lake" in doctor.stdout, doctor.stdout + doctor.stderr
    for name in COMPONENTS:
        said = stack.log(name).read_text(errors="replace")
        assert not [secret for secret in SECRETS.values() if secret in said], name


def test_a_check_fails_where_nothing_runs(stack: Stack) -> None:
    done = stack.run("airflow-init", stack.services["airflow-init"]["command"])
    assert done.returncode == 0, done.stderr[-2000:]

    for name in COMPONENTS:
        check = stack.services[name]["healthcheck"]
        assert stack.run(name, check["test"][1:]).returncode != 0, name
