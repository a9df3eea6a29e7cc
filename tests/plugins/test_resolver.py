"""Which night a run is about: the form, then the interval of a scheduled run, else an error."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from nightshift.errors import UsageError
from nightshift.night import Night
from nightshift_airflow.resolver import Run, resolve

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = (datetime(2017, 11, 20, tzinfo=UTC), datetime(2017, 11, 21, tzinfo=UTC))
NOTHING = (None, None)


def resolved(run_type: str, params: dict[str, Any], interval: Any = NOTHING) -> Run:
    return resolve(run_type=run_type, params=params, conf=params, interval=interval, now=NOW)


@pytest.mark.parametrize(
    ("run_type", "params", "interval", "night"),
    [
        ("manual", {"night": "2017-11-20"}, NOTHING, "2017-11-20"),
        ("manual", {"night": " 2017-11-20 "}, NOTHING, "2017-11-20"),
        ("manual", {"night": "2017-11-20/2017-11-27"}, NOTHING, "2017-11-20/2017-11-27"),
        # Airflow gives a manual run the interval of another day: the form alone counts.
        ("manual", {"night": "2017-11-22"}, DAY, "2017-11-22"),
        ("asset_triggered", {"night": "2017-11-22"}, NOTHING, "2017-11-22"),
        ("scheduled", {}, DAY, "2017-11-20"),
        ("scheduled", {"night": None}, DAY, "2017-11-20"),
        ("scheduled", {"night": "2017-11-22"}, DAY, "2017-11-22"),
        ("backfill", {}, DAY, "2017-11-20"),
    ],
)
def test_a_night_is_found(run_type: str, params: Any, interval: Any, night: str) -> None:
    assert resolved(run_type, params, interval).night == Night.parse(night)


@pytest.mark.parametrize(
    ("run_type", "params", "interval", "message"),
    [
        ("manual", {}, NOTHING, "names no night"),
        ("manual", {}, DAY, "names no night"),  # `dags test DAG DATE`, or a logical date alone
        ("asset_triggered", {}, NOTHING, "names no night"),
        ("scheduled", {}, NOTHING, "no data interval"),
        ("scheduled", {}, (DAY[0], DAY[0]), "no data interval"),  # `@daily` in Airflow 3
        ("backfill", {"night": "2017-11-20"}, DAY, "one night for all"),
        ("backfill", {"first_night": True}, DAY, "every night the first"),
        ("manual", {"night": "tomorrow"}, NOTHING, "not a date"),
        ("manual", {"night": "2017-11-27/2017-11-20"}, NOTHING, "ends after it starts"),
        ("manual", {"night": "2026-11-21"}, NOTHING, "not over"),
        ("manual", {"nigth": "2017-11-20"}, NOTHING, "'nigth'"),
    ],
)
def test_an_unclear_run_is_an_error_with_a_way_out(
    run_type: str, params: Any, interval: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        resolved(run_type, params, interval)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("run_type", "asked", "first"),
    [
        ("manual", True, True),
        ("manual", False, False),
        ("manual", None, False),
        ("manual", "2017-11-20", True),
        ("manual", "2017-11-19", False),
        ("backfill", "2017-11-20", True),
        ("backfill", "2017-11-19", False),
        ("backfill", False, False),
        ("scheduled", "2017-11-20", True),
    ],
)
def test_the_first_night_is_explicit(run_type: str, asked: Any, first: bool) -> None:
    night = {"night": "2017-11-20"} if run_type == "manual" else {}
    field = "first_date" if isinstance(asked, str) else "first_night"
    assert resolved(run_type, {**night, field: asked}, DAY).first is first


def test_a_run_survives_xcom() -> None:
    run = Run(Night.parse("2017-11-20T06:00/2017-11-21T06:00"), True, True, ("generate.seed=3",))

    assert Run.from_json(run.to_json()) == run


def test_the_command_line_says_what_the_form_said() -> None:
    run = resolved("manual", {"night": "2017-11-20", "first_night": True, "seed": 3})

    assert run.arguments("generate", {"shard": "negatives-000"}) == [
        *["generate", "--night", "2017-11-20", "--first", "--shard", "negatives-000"],
        *["--set", "generate.seed=3", "--set", "finetune.seeds=[3]"],
    ]
    assert run.settings().generate.seed == 3
    assert run.settings().finetune.seeds == (3,)
    assert run.settings().night.first == run.night.start


EVENT = [{"night": "2017-11-20", "rows": 7}]


def test_an_asset_names_the_night() -> None:
    def resolved_by(*extras: dict[str, Any], night: str | None = None) -> Run:
        given = {"night": night} if night else {}
        return resolve(run_type="asset_triggered", params=given, conf=given, events=extras, now=NOW)

    assert resolved_by(*EVENT).night == Night.parse("2017-11-20")
    assert resolved_by(*EVENT, {"night": " 2017-11-20"}, {}).night == Night.parse("2017-11-20")
    assert resolved_by({"night": "2017-11-20/2017-11-27"}).night.key.startswith("20171120T")
    with pytest.raises(UsageError, match="names no night") as raised:
        resolved_by({"rows": 7})
    assert '{"night": "2017-11-20"}' in raised.value.hint
    with pytest.raises(UsageError, match="2 nights arrived at once: 2017-11-20, 2017-11-21"):
        resolved_by(*EVENT, {"night": "2017-11-21"})
    with pytest.raises(UsageError, match="not a date"):
        resolved_by({"night": "'; drop table users; --"})


def test_however_it_is_asked_for_it_is_the_same_run() -> None:
    form = {"night": "2017-11-20", "seed": 3}
    asked = [
        resolve(run_type="manual", params=form, conf=form, now=NOW),
        resolve(run_type="scheduled", params={"seed": 3}, interval=DAY, now=NOW),
        resolve(run_type="backfill", params={"seed": 3}, interval=DAY, now=NOW),
        resolve(run_type="asset_triggered", params={"seed": 3}, events=EVENT, now=NOW),
    ]

    assert len({run.arguments("collect")[2] for run in asked}) == 1
    assert all(run == asked[0] for run in asked)


def test_the_switch_of_the_installation_turns_samples_off() -> None:
    off = resolve(
        run_type="scheduled",
        params={"samples_off": False, "strategies": ["negatives"]},
        interval=DAY,
        samples_off=True,
        now=NOW,
    )

    assert off.sets == ("generate.strategies=[]",)
    assert off.settings().generate.strategies == ()


@pytest.mark.parametrize(
    ("run_type", "last", "skipped"),
    [
        ("scheduled", "2017-11-19", True),
        ("scheduled", "2017-11-20", False),
        ("scheduled", None, False),
        ("backfill", "2017-11-19", False),
        ("manual", "2017-11-19", False),
    ],
)
def test_only_the_schedule_of_a_shop_that_is_history_is_skipped(
    run_type: str, last: str | None, skipped: bool
) -> None:
    run = resolve(
        run_type=run_type,
        params={"night": "2017-11-20"} if run_type == "manual" else {},
        interval=DAY,
        last_night=None if last is None else date.fromisoformat(last),
        now=NOW,
    )

    assert bool(run.skip) is skipped
    assert Run.from_json(run.to_json()) == run
