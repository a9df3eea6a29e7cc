"""A night waits for the state that ends where it starts, and says so when none comes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_context import context_of

from nightshift.lake import Lake
from nightshift.manifest import Manifest, content_digest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import state_partition
from nightshift_airflow.resolver import Run
from nightshift_airflow.sensors.parent import ParentTrigger, WaitForParent, found

RUN = Run(Night.parse("2017-11-21"))


def state_up_to(settings: Settings, day: str) -> Manifest:
    """A state's manifest, which is all that the wait looks at."""
    key = "5" * 64
    return Lake.of(settings).commit(
        Manifest(
            dataset="state",
            partition=state_partition(Night.parse(day).start),
            key=key,
            digest=content_digest(key, (), {}, {}),
            files=(),
            inputs={},
            settings_digest="",
            code_version="test",
            stats={},
        )
    )


def waiting(run: Run = RUN, seconds: float = 60) -> WaitForParent:
    return WaitForParent(task_id="wait_for_parent", wait_seconds=seconds)


def events_of(trigger: ParentTrigger) -> list[Any]:
    async def collect() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    return Settings.load()


def test_the_first_night_waits_for_nothing(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waiting().execute(context_of(Run(RUN.night, first=True))) is None

    monkeypatch.setenv("NIGHTSHIFT_NIGHT__FIRST", "2017-11-21")
    assert waiting().execute(context_of(RUN)) is None


def test_a_state_that_is_there_ends_the_wait_at_once(home: Settings) -> None:
    state = state_up_to(home, "2017-11-21")

    assert waiting().execute(context_of(RUN)) == {"uri": Lake.of(home).uri(state.folder)}


def test_a_state_of_another_day_is_not_the_parent(home: Settings) -> None:
    state_up_to(home, "2017-11-20")
    state_up_to(home, "2017-11-22")

    assert found(RUN) is None


def test_a_missing_state_is_waited_for_without_a_worker(home: Settings) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        waiting(seconds=60).execute(context_of(RUN))

    path, kwargs = deferred.value.trigger.serialize()
    assert path == "nightshift_airflow.sensors.parent.ParentTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert 50 < kwargs["until"] - time.time() <= 60
    assert deferred.value.method_name == "resume"


def test_the_trigger_fires_when_the_state_comes(home: Settings) -> None:
    comes = threading.Timer(0.2, state_up_to, (home, "2017-11-21"))
    comes.start()

    trigger = ParentTrigger(run=RUN.to_json(), until=time.time() + 20, poll=0.02)

    (event,) = events_of(trigger)
    assert event["state"]["uri"].startswith(home.lake_root)
    assert waiting().resume(context_of(RUN), event) == event["state"]


def test_when_the_time_is_up_the_way_out_is_named(home: Settings) -> None:
    (event,) = events_of(ParentTrigger(run=RUN.to_json(), until=time.time(), poll=0.02))

    with pytest.raises(AirflowFailException, match="No model state ends at 2017-11-21") as raised:
        waiting().resume(context_of(RUN), event)
    assert "run the night before it" in str(raised.value)


def test_a_gap_may_be_learnt_once_the_wait_is_over(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_NIGHT__ON_GAP", "learn")
    earlier = state_up_to(home, "2017-11-18")

    with pytest.raises(TaskDeferred):  # the night before may still be at work
        waiting().execute(context_of(RUN))
    gone_on = waiting().resume(context_of(RUN), {"state": None})

    assert gone_on == {"uri": Lake.of(home).uri(earlier.folder)}


def test_a_dry_run_needs_no_state(home: Settings) -> None:
    with pytest.raises(AirflowSkipException):
        waiting().execute(context_of(Run(RUN.night, dry=True)))
