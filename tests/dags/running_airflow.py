"""A running Airflow for tests: `make up` and `make down`, and its REST API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nightshift_airflow.local.place import USER, Place

NIGHT_SECONDS = 540


class Api:
    """The REST API, logged in as the user that `make up` names."""

    def __init__(self, place: Place) -> None:
        self.url = (place.home / "url").read_text()
        login = {"username": USER, "password": place.password()}
        self.token = self.call("POST", "/auth/token", login, token=None)["access_token"]

    def call(self, method: str, path: str, body: Any = None, token: str | None = "mine") -> Any:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def unpause(self, dag: str) -> None:
        self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run as the UI does, which fills in now as its date; its path in the API."""
        self.unpause(dag)
        body = {"conf": conf, "logical_date": datetime.now(UTC).isoformat()}
        run = self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)
        return f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run['dag_run_id'])}"

    def runs(self, dag: str, run_type: str) -> list[str]:
        """Paths of the runs of one type."""
        found = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?run_type={run_type}")["dag_runs"]
        return [
            f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run['dag_run_id'])}" for run in found
        ]

    def emit(self, asset: str, extra: dict[str, Any]) -> None:
        """An event of an asset, as a shop's loading would send it."""
        query = urllib.parse.urlencode({"name_pattern": asset})
        (found,) = self.call("GET", f"/api/v2/assets?{query}")["assets"]
        self.call("POST", "/api/v2/assets/events", {"asset_id": found["id"], "extra": extra})

    def wait(self, run: str) -> str:
        """The state that a run ends with."""
        states = ("success", "failed")
        return wait_for(lambda: found if (found := self.state(run)) in states else None)

    def state(self, run: str) -> str:
        return str(self.call("GET", run)["state"])

    def states(self, run: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for task in self.tasks(run):
            found.setdefault(task["task_id"], set()).add(task["state"])
        return found

    def tasks(self, run: str) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.call("GET", f"{run}/taskInstances?limit=200")[
            "task_instances"
        ]
        return tasks

    def why(self, run: str) -> str:
        """What the failed tasks of a run wrote last, to say why a test fails."""
        failed = [task for task in self.tasks(run) if task["state"] == "failed"]
        return "\n".join(f"{task['task_id']}: {self.log(run, task)[-2000:]}" for task in failed)

    def log(self, run: str, task: dict[str, Any]) -> str:
        """The log of a task's last try."""
        where = f"{run}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        found = self.call("GET", f"{where}?map_index={task['map_index']}")["content"]
        return "\n".join(json.dumps(line) for line in found)

    def result(self, run: str, task: dict[str, Any]) -> Any:
        """What a task returned."""
        where = f"{run}/taskInstances/{task['task_id']}/xcomEntries/return_value"
        found = self.call("GET", f"{where}?map_index={task['map_index']}")["value"]
        return json.loads(found) if isinstance(found, str) else found


def wait_for(found: Callable[[], Any], seconds: float = NIGHT_SECONDS) -> Any:
    """The first answer that is not None (and not empty).

    Raises:
        AssertionError: none came in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(1)
    raise AssertionError("it did not come in time")


def command(*arguments: str) -> str:
    """`python -m nightshift_airflow …` to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "nightshift_airflow", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
