"""`make up`; nights triggered like the form does, and backfilled; `make down`."""

from __future__ import annotations

import json
import time
import urllib.error
from pathlib import Path

import psutil
import pytest
from running_airflow import Api, command, wait_for

from nightshift.lake import Lake
from nightshift.night import nights_between, parse_time
from nightshift.nights import run_night
from nightshift.registry.alias import live
from nightshift.settings import Settings
from nightshift.stages import state_partition
from nightshift_airflow.local.place import Place
from nightshift_airflow.local.stack import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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


def test_up_runs_a_night_from_the_form_and_down_leaves_nothing(up: tuple[Settings, str]) -> None:
    settings, told = up
    place = Place.of(settings)
    api = Api(place)
    assert api.url in told
    assert place.password() in told

    with pytest.raises(urllib.error.HTTPError, match="401"):
        api.call("GET", "/api/v2/dags", token=None)
    dags = {one["dag_id"]: one for one in api.call("GET", "/api/v2/dags")["dags"]}
    assert set(dags) == {
        "adapt_generator",
        "housekeeping",
        "nightly",
        "nightly_range",
        "promote",
        "smoke",
    }
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
    # The shop is history: what is scheduled of today is skipped, task by task.
    for scheduled in api.runs("nightly", "scheduled"):
        assert api.wait(scheduled) == "success"
        states = api.states(scheduled)
        assert states.pop("night") == {"success"}
        assert set().union(*states.values()) == {"skipped"}

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
    api.unpause("nightly")
    conf = json.dumps({"first_date": "2017-11-20"})
    asked = ["backfill", "create", "--dag-id", "nightly", "--dag-run-conf", conf]
    dates = ["--from-date", "2017-11-20", "--to-date", "2017-11-22", "--max-active-runs", "2"]
    command("airflow", *asked, *dates)
    runs = wait_for(lambda: api.runs("nightly", "backfill"))
    assert [api.wait(run) for run in runs] == ["success"] * 3

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
