"""`make up`; nights triggered like the form does, and backfilled; `make down`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_night import small_night

from nightshift.lake import Lake
from nightshift.night import nights_between, parse_time
from nightshift.nights import run_night
from nightshift.registry.alias import live
from nightshift.settings import Settings
from nightshift.stages import state_partition
from nightshift_airflow.local.place import USER, Place
from nightshift_airflow.local.stack import running

NIGHT_SECONDS = 540

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
        body = {"conf": conf, "logical_date": None}
        run = self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)
        return f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run['dag_run_id'])}"

    def wait(self, run: str) -> str:
        deadline = time.monotonic() + NIGHT_SECONDS
        while time.monotonic() < deadline:
            state = str(self.call("GET", run)["state"])
            if state in ("success", "failed"):
                return state
            time.sleep(1)
        raise AssertionError("the night did not end")

    def states(self, run: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for task in self.call("GET", f"{run}/taskInstances?limit=200")["task_instances"]:
            found.setdefault(task["task_id"], set()).add(task["state"])
        return found


def command(action: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nightshift_airflow", action],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_this_home(home: Path) -> list[str]:
    """Processes that were started for this home, Postgres included.

    Some of Airflow's rename themselves and lose their environment: see `running` for those.
    """
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.environ().get("NIGHTSHIFT_HOME") == str(home)
            if process.pid != psutil.Process().pid and (
                inside or str(home) in " ".join(process.cmdline())
            ):
                found.append(f"{process.pid} {process.cmdline()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.fixture
def up(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, str]]:
    with small_night(monkeypatch) as settings:
        try:
            yield settings, command("up")
        finally:
            command("down")


def test_up_runs_a_night_from_the_form_and_down_leaves_nothing(up: tuple[Settings, str]) -> None:
    settings, told = up
    place = Place.of(settings)
    api = Api(place)
    assert api.url in told
    assert place.password() in told

    with pytest.raises(urllib.error.HTTPError, match="401"):
        api.call("GET", "/api/v2/dags", token=None)
    dags = {one["dag_id"]: one for one in api.call("GET", "/api/v2/dags")["dags"]}
    assert set(dags) == {"nightly", "nightly_range"}
    assert all(one["is_paused"] for one in dags.values())
    with pytest.raises(urllib.error.HTTPError, match="400"):
        api.trigger("nightly", {"night": "tomorrow"})

    dry = api.trigger("nightly", {"night": "2017-11-20", "first_night": True, "dry_run": True})
    assert api.wait(dry) == "success"
    assert api.states(dry)["plan"] == {"success"}
    assert api.states(dry)["blend"] == {"skipped"}

    nameless = api.trigger("nightly", {})
    assert api.wait(nameless) == "failed"
    assert api.states(nameless)["night"] == {"failed"}

    night = api.trigger("nightly", {"night": "2017-11-20", "first_night": True, "seed": 3})
    assert api.wait(night) == "success", api.states(night)
    assert Lake.of(settings).find("state", "as_of=20171121T000000Z") is not None
    scheduled = api.call("GET", "/api/v2/dags/nightly/dagRuns?run_type=scheduled")
    assert scheduled["total_entries"] == 0  # the shop is history: nothing of today is scheduled

    # A second night, stopped in the middle.
    api.trigger("nightly", {"night": "2017-11-21"})
    deadline = time.monotonic() + 60
    while not any("nightshift.cli" in line for line in of_this_home(settings.home_path)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    family = [one for top in running(place).values() for one in [top, *top.children(True)]]
    assert len(family) > 4
    command("down")
    assert [one for one in family if one.is_running()] == []
    assert of_this_home(settings.home_path) == []


def test_a_backfill_of_two_nights_at_once_gives_the_states_of_nights_in_a_row(
    up: tuple[Settings, str], tmp_path: Path
) -> None:
    settings, _ = up
    api = Api(Place.of(settings))
    api.call("PATCH", "/api/v2/dags/nightly", {"is_paused": False})
    conf = json.dumps({"first_night": "2017-11-20"})
    asked = ["backfill", "create", "--dag-id", "nightly", "--dag-run-conf", conf]
    dates = ["--from-date", "2017-11-20", "--to-date", "2017-11-22", "--max-active-runs", "2"]
    subprocess.run(
        [sys.executable, "-m", "nightshift_airflow", "airflow", *asked, *dates], check=True
    )
    deadline = time.monotonic() + NIGHT_SECONDS
    while time.monotonic() < deadline:
        runs = api.call("GET", "/api/v2/dags/nightly/dagRuns?run_type=backfill")["dag_runs"]
        states = [run["state"] for run in runs]
        if len(states) == 3 and not {"queued", "running"} & set(states):
            break
        time.sleep(1)
    assert states == ["success"] * 3

    nights = nights_between(parse_time("2017-11-20"), parse_time("2017-11-22"))
    row = settings.with_(
        {"lake": {"root": (tmp_path / "lake").as_uri()}, "night": {"first": nights[0].start}}
    )
    for night in nights:
        run_night(night, row, told=lambda ran: None)
    backfilled, in_a_row = Lake.of(settings), Lake.of(row)
    for night in nights:
        partition = state_partition(night.end)
        assert backfilled.get("state", partition).digest == in_a_row.get("state", partition).digest
    alias = live(backfilled)
    assert alias is not None
    assert alias.night == nights[-1].key
