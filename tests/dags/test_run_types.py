"""A night is the same night however it is asked for, and at the same time from several sides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from running_airflow import Api, command, wait_for
from small_night import small_night

from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES
from nightshift_airflow.local.place import Place

FIRST, SECOND = "2017-11-20", "2017-11-21"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def api(small_shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Api]]:
    """An Airflow whose schedule has one night to run: the first one."""
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__START_NIGHT", FIRST)
    # One interval of a day, then one of nearly a year, and so on: all but the first are skipped.
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__SCHEDULE", "0 0 20,21 11 *")
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__LAST_NIGHT", FIRST)
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__CATCHUP", "true")
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__MAX_ACTIVE_RUNS", "4")
    monkeypatch.setenv("NIGHTSHIFT_NIGHT__FIRST", FIRST)
    with small_night(monkeypatch) as settings:
        try:
            command("up")
            yield settings, Api(Place.of(settings))
        finally:
            command("down")


def worked(api: Api, run: str) -> Counter[str]:
    """How many datasets each stage of a run made itself, rather than found."""
    made: Counter[str] = Counter()
    for task in api.tasks(run):
        if task["task_id"] in STAGES:
            result = api.result(run, task)
            made[task["task_id"]] += result["worked"]
    return made


def digests(api: Api, run: str) -> dict[str, str]:
    """Dataset and partition to digest, of all that a run's stages stand for."""
    results = [api.result(run, t) for t in api.tasks(run) if t["task_id"] in STAGES]
    return {f"{one['dataset']}/{one['partition']}": one["digest"] for one in results}


def test_the_same_night_from_all_sides_at_once_is_made_once(api: tuple[Settings, Api]) -> None:
    settings, rest = api
    lake = Lake.of(settings)
    rest.unpause("nightly")  # the schedule starts its one night
    manual = rest.trigger("nightly", {"night": FIRST})
    rest.emit("nightshift_events", {"night": FIRST})
    triggered = wait_for(lambda: rest.runs("nightly", "asset_triggered"))
    scheduled = [
        run
        for run in wait_for(lambda: rest.runs("nightly", "scheduled"))
        if rest.call("GET", run)["logical_date"].startswith(FIRST)
    ]
    runs = [manual, *triggered, *scheduled]

    assert len(runs) == 3
    assert [rest.wait(run) for run in runs] == ["success"] * 3

    made = sum((worked(rest, run) for run in runs), Counter())
    once = {name: 1 for name in NIGHTLY if not STAGES[name].parts}
    assert {name: made[name] for name in once} == once
    for stage in map(STAGES.__getitem__, NIGHTLY):
        if not stage.parts:
            folder = f"{stage.dataset}/{lake.partitions(stage.dataset)[0]}"
            assert len([name for name in lake.names(folder) if name[0] != "_"]) == 1, folder
    assert digests(rest, manual) == digests(rest, triggered[0]) == digests(rest, scheduled[0])

    # A backfill runs what Airflow has of that date anew, and finds everything done.
    before = digests(rest, manual)
    dates = ["--from-date", FIRST, "--to-date", FIRST, "--reprocess-behavior", "completed"]
    command("airflow", "backfill", "create", "--dag-id", "nightly", *dates)
    backfilled = wait_for(lambda: rest.runs("nightly", "backfill"))
    assert [rest.wait(run) for run in backfilled] == ["success"]
    assert worked(rest, backfilled[0]).total() == 0
    assert digests(rest, backfilled[0]) == before


def test_a_backfill_beside_a_manual_run_and_an_event(up: tuple[Settings, str]) -> None:
    settings, _ = up
    rest = Api(Place.of(settings))
    rest.unpause("nightly")
    conf = json.dumps({"first_date": SECOND})
    dates = ["--from-date", SECOND, "--to-date", SECOND, "--dag-run-conf", conf]
    command("airflow", "backfill", "create", "--dag-id", "nightly", *dates)
    manual = rest.trigger("nightly", {"night": SECOND, "first_night": True})
    backfilled = wait_for(lambda: rest.runs("nightly", "backfill"))

    assert [rest.wait(run) for run in (manual, *backfilled)] == ["success"] * 2

    assert digests(rest, manual) == digests(rest, backfilled[0])
    made = worked(rest, manual) + worked(rest, backfilled[0])
    assert all(made[name] == 1 for name in NIGHTLY if not STAGES[name].parts)

    # An event without a night fails with the way out, and touches nothing.
    rest.emit("nightshift_events", {"nights": "all of them"})
    (nameless,) = wait_for(lambda: rest.runs("nightly", "asset_triggered"))
    assert rest.wait(nameless) == "failed"
    assert rest.states(nameless)["night"] == {"failed"}
