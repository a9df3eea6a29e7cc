"""Which night is this run about?

    1. the form (or `--conf`): `night`
    2. the data interval of a scheduled or backfilled run, the night that an asset's event names
    3. an error that says how to name one

Airflow gives a manual run without a date no interval at all, and a manual run *with* a logical
date the interval of some other day; so those take their night from the form alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from nightshift.commands.common import settings_of
from nightshift.errors import UsageError
from nightshift.night import DAY, Night, parse_time
from nightshift.settings import Settings
from nightshift_airflow.params import FORM, overrides
from nightshift_airflow.settings import airflow_settings

FROM_INTERVAL = frozenset({"scheduled", "backfill"})
ASSET_TRIGGERED = "asset_triggered"
_HINT = 'fill in "night" in the form, or pass --conf \'{"night": "2017-11-20"}\''


@dataclass(frozen=True, slots=True)
class Run:
    """What a DAG run asks for; travels through XCom as plain JSON."""

    night: Night
    first: bool = False
    dry: bool = False
    sets: tuple[str, ...] = field(default=())
    """Assignments for `--set`, such as `generate.seed=3`."""
    skip: str = ""
    """Why there is nothing to do; every stage of the run is skipped then."""

    @property
    def night_text(self) -> str:
        """The night as `--night` takes it."""
        start, end = self.night.start, self.night.end
        is_day = self.night.key == f"{start:%Y-%m-%d}"
        return self.night.key if is_day else f"{start.isoformat()}/{end.isoformat()}"

    def arguments(self, stage: str, parts: Mapping[str, str] | None = None) -> list[str]:
        """The command line of one stage, after the program's name."""
        line = [stage, "--night", self.night_text]
        line += ["--first"] if self.first else []
        for name, value in (parts or {}).items():
            line += [f"--{name}", value]
        for assignment in self.sets:
            line += ["--set", assignment]
        return line

    def settings(self) -> Settings:
        """The settings that a stage of this run sees, for looking into the lake."""
        return settings_of(
            argparse.Namespace(night=self.night_text, first=self.first, set=list(self.sets))
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "night": self.night_text,
            "first": self.first,
            "dry": self.dry,
            "sets": list(self.sets),
            "skip": self.skip,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Run:
        night = Night.parse(raw["night"])
        return cls(night, raw["first"], raw["dry"], tuple(raw["sets"]), raw["skip"])


def resolve(
    *,
    run_type: str,
    params: Mapping[str, Any],
    conf: Mapping[str, Any] | None = None,
    interval: tuple[datetime | None, datetime | None] = (None, None),
    events: Sequence[Mapping[str, Any]] = (),
    samples_off: bool = False,
    last_night: date | None = None,
    now: datetime | None = None,
    ahead: bool = False,
) -> Run:
    """The night of a run and what its form asks for.

    Args:
        run_type: Airflow's: manual, scheduled, backfill, asset_triggered …
        params: the form with its defaults filled in.
        conf: what was typed or passed, to find misspelled keys.
        interval: the data interval; used for scheduled and backfilled runs only.
        events: the extras of the asset events that triggered the run.
        samples_off: the switch of this installation; the form can only add to it.
        last_night: of a shop that is history; the schedule has nothing to do after it.
        ahead: for what learns and judges nothing: a scheduled run is about the day (UTC) on which
            its interval ends, and a night need only have begun.

    Raises:
        UsageError: no night, two nights, one that is not over (or begun), or an unknown key.
    """
    unknown = sorted(set(conf or {}) - set(FORM))
    if unknown:
        raise UsageError(
            f"The form has no field {', '.join(map(repr, unknown))}.",
            hint=f"its fields are {', '.join(FORM)}",
        )
    asked = str(params.get("night") or "").strip()
    if not asked and run_type == ASSET_TRIGGERED:
        asked = _night_of_events(events)
    if ahead and interval[1] is not None:
        day = interval[1].astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        interval = (day, day + DAY)
    night = _night(run_type, asked, interval)
    now = now or datetime.now(UTC)
    if ahead and night.start > now:
        raise UsageError(
            f"Night {night.key} has not begun: there is more to learn before it.",
            hint="choose a night that has begun",
        )
    if not ahead and night.end > now:
        raise UsageError(
            f"Night {night.key} is not over: its events cannot judge anything yet.",
            hint="choose a night that ended",
        )
    return Run(
        night=night,
        first=_is_first(run_type, params, night),
        dry=bool(params.get("dry_run")),
        sets=tuple(overrides({**params, "samples_off": True} if samples_off else params)),
        skip=_skip(run_type, night, last_night),
    )


def _skip(run_type: str, night: Night, last_night: date | None) -> str:
    """Not by the DAG's end date: Airflow makes no tasks for a later run, and calls it a success.

    What is triggered in the UI has today as its date.
    """
    if run_type != "scheduled" or last_night is None or night.start.date() <= last_night:
        return ""
    return f"the shop is history: its last night is {last_night}"


def _night_of_events(events: Sequence[Mapping[str, Any]]) -> str:
    """The one night that the events name, however many there are."""
    named = {str(extra.get("night") or "").strip() for extra in events} - {""}
    if not named:
        raise UsageError(
            "The asset's event names no night.",
            hint='emit it with a night in its extra: {"night": "2017-11-20"}',
        )
    if len(named) > 1:
        raise UsageError(
            f"Events of {len(named)} nights arrived at once: {', '.join(sorted(named))}.",
            hint="one run is one night: trigger `nightly_range` for them",
        )
    return named.pop()


def _night(run_type: str, asked: str, interval: tuple[datetime | None, datetime | None]) -> Night:
    start, end = interval
    if run_type not in FROM_INTERVAL:
        if not asked:
            raise UsageError(f"This {run_type} run names no night.", hint=_HINT)
        return Night.parse(asked)
    if asked and run_type == "backfill":
        raise UsageError(
            "A backfill has one night per date, but its conf names one night for all.",
            hint="leave `night` out of --dag-run-conf",
        )
    if asked:
        return Night.parse(asked)
    if start is None or end is None or start >= end:
        raise UsageError(
            f"This {run_type} run has no data interval to take the night from.",
            hint="give the DAG a schedule with intervals (CronDataIntervalTimetable), or " + _HINT,
        )
    return Night(start, end)


def _is_first(run_type: str, params: Mapping[str, Any], night: Night) -> bool:
    """`first_night` means this run's night; `first_date` the night that starts there."""
    date = str(params.get("first_date") or "").strip()
    if date and parse_time(date) == night.start:
        return True
    if params.get("first_night") and run_type == "backfill":
        raise UsageError(
            "In a backfill, first_night would make every night the first one.",
            hint='name its date: --dag-run-conf \'{"first_date": "2017-11-20"}\'',
        )
    return bool(params.get("first_night"))


def run_of(context: Mapping[str, Any], *, samples_off: bool = False, ahead: bool = False) -> Run:
    """`resolve` from an Airflow task's context."""
    dag_run = context["dag_run"]
    return resolve(
        run_type=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
        params=dict(context["params"]),
        conf=dag_run.conf,
        interval=(dag_run.data_interval_start, dag_run.data_interval_end),
        events=extras_of(context),
        samples_off=samples_off,
        last_night=airflow_settings().last_night,
        ahead=ahead,
    )


def extras_of(context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The extras of the asset events that triggered this run; none for other runs."""
    triggers = context.get("triggering_asset_events") or {}
    return [event.extra for events in triggers.values() for event in events]
