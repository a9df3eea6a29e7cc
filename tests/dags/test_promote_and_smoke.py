"""A person decides in a running Airflow; and the checks of `smoke` see what a stage sees."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow_for_tests import PROJECT
from running_airflow import Api, command, wait_for
from small_night import small_night
from sqlalchemy import text

from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.nights import run_night
from nightshift.registry import approval
from nightshift.registry.alias import history, live
from nightshift.settings import Settings
from nightshift.store.engine import begin
from nightshift_airflow.local.place import USER, Place

NIGHT = Night.parse("2017-11-20")


@pytest.fixture
def waiting(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with a scored night that waits for a person, and Airflow up."""
    monkeypatch.setenv("NIGHTSHIFT_PROMOTION__APPROVAL", "every_night")
    monkeypatch.setenv("NIGHTSHIFT_NIGHT__FIRST", NIGHT.key)
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__LAST_NIGHT", NIGHT.key)
    with small_night(monkeypatch) as settings:
        run_night(NIGHT, settings, told=lambda ran: None)
        try:
            command("up")
            yield settings
        finally:
            command("down")


def answer(api: Api, run: str, *, choice: str, reason: str) -> None:
    """Wait until somebody is asked, and answer as the page of the UI does."""
    wait_for(lambda: api.states(run).get("ask") == {"awaiting_input"})
    # A person reads first. A task that is answered within the same second looks to Airflow 3.3.2 as
    # if it had ended without its executor's knowledge, and fails.
    time.sleep(3)
    body: dict[str, Any] = {"chosen_options": [choice], "params_input": {"reason": reason}}
    api.call("PATCH", f"{run}/taskInstances/ask/-1/hitlDetails", body)


def recommended(settings: Settings) -> int:
    with begin(settings) as connection:
        count = connection.execute(text("select count(*) from nightshift.recommendations"))
        return int(count.scalar_one())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_person_decides_and_it_is_recorded(waiting: Settings) -> None:
    lake = Lake.of(waiting)
    api = Api(Place.of(waiting))
    assert live(lake) is None

    refused = api.trigger("promote", {})
    answer(api, refused, choice="Reject", reason="$(reboot); {{ 7 * 7 }} --by=eve")
    assert api.wait(refused) == "success", api.why(refused)
    assert live(lake) is None
    (entry,) = approval.decisions(lake)
    assert (entry["choice"], entry["by"]) == ("rejected", USER)
    assert entry["reason"] == "$(reboot); {{ 7 * 7 }} --by=eve"  # words, never code

    # A no that was thought over: the same night again, by hand.
    wanted = api.trigger("promote", {"night": NIGHT.key})
    detail = wait_for(lambda: api.states(wanted).get("ask") == {"awaiting_input"}) and api.call(
        "GET", f"{wanted}/taskInstances/ask/-1/hitlDetails"
    )
    assert "Challenger against control" in detail["body"]
    answer(api, wanted, choice="Approve", reason="figures are sound")
    assert api.wait(wanted) == "success", api.why(wanted)
    alias = live(lake)
    assert alias is not None
    assert (alias.night, alias.kind) == (NIGHT.key, "approved")
    assert alias.reason == f"approved by {USER}: figures are sound"
    assert recommended(waiting) > 0

    nothing = api.trigger("promote", {})
    assert api.wait(nothing) == "success"
    assert api.states(nothing)["offer"] == {"skipped"}
    assert len(history(lake)) == 1

    smoke = api.trigger("smoke", {})
    assert api.wait(smoke) == "success", api.why(smoke)


def test_promote_follows_the_nights_only_where_a_person_is_to_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def triggers() -> str:
        return str(DagBag(str(PROJECT / "dags" / "promote.py")).dags["promote"].timetable)

    assert "nightshift_recommendations" not in triggers()
    monkeypatch.setenv("NIGHTSHIFT_PROMOTION__APPROVAL", "new_line")
    assert "nightshift_recommendations" in triggers()


def test_no_answer_in_time_leaves_live_what_is_live() -> None:
    asking = DagBag(str(PROJECT / "dags" / "promote.py")).dags["promote"].get_task("ask")

    assert asking.defaults == ["Reject"]
    assert asking.response_timeout.total_seconds() == 24 * 3600


def test_a_failing_check_fails_smoke_with_its_cause(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_TEXT__ENCODER", "/no-such-model")
    code = (
        "from nightshift_airflow.operators.command import CommandOperator\n"
        "CommandOperator(task_id='worker', command=['doctor', '--only', 'encoder']).execute({})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "AirflowException: doctor failed (exit 1): encoding: text.encoder /no-such-model" in last
