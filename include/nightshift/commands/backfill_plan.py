"""`nightshift backfill-plan`: what a backfill would do, what it would take, and its command."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.commands.common import Subparsers, add_command, emit, settings_of, time_option
from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import Night, nights_between
from nightshift.settings import Settings
from nightshift.stages import STAGES, state_partition

_DESCRIPTION = """\
Nights × stages of a range: done, stale or missing; what is left to do, in hours (from what nights
in this lake took) and money (`cost.gpu_hour`); and the command that does it.

  nightshift backfill-plan --from 2017-11-20 --to 2017-12-03 --at-once 4
  nightshift backfill-plan --from 2017-11-20 --to 2017-12-03 --json plan.json
"""
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of a range. Hours are None where no night in the lake tells."""

    nights: int
    nights_done: int
    stages: int
    hours: float | None
    gpu_hours: float | None
    money: float | None
    measured_nights: int


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "backfill-plan",
        _run,
        help="what a backfill would do and take, and the command for it",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--from", dest="since", metavar="DATE", type=time_option, required=True, help="first night"
    )
    parser.add_argument(
        "--to", dest="until", metavar="DATE", type=time_option, required=True, help="last night"
    )
    parser.add_argument(
        "--at-once", type=int, default=2, metavar="N", help="nights at the same time (2)"
    )


def _run(arguments: argparse.Namespace) -> int:
    from nightshift.commands.standing import standings
    from nightshift.commands.status import blocks

    settings = settings_of(arguments)
    lake = Lake.of(settings)
    nights = nights_between(arguments.since, arguments.until)
    if not nights:
        raise UsageError("The range ends before it starts.", hint="swap --from and --to")
    if arguments.at_once < 1:
        raise UsageError(
            "--at-once is at least 1.", hint="as many as there are GPUs, or a few more"
        )
    found = {night: standings(lake, night, settings) for night in nights}
    first = first_night(lake, nights, settings)
    work = work_of(lake, found, first, settings)
    command = backfill_command(nights, first, at_once=arguments.at_once)
    for text in [
        *blocks(lake, found),
        *_words(work, settings),
        *_how(command, lake, nights, first),
    ]:
        print(text)
    emit(arguments, asdict(work) | {"first_night": first and first.key, "command": command})
    return 0


def first_night(lake: Lake, nights: Sequence[Night], settings: Settings) -> Night | None:
    """The night that has to be named as the first one; None when a state leads to the range."""
    start = nights[0].start
    if settings.night.first is not None:
        return None  # the settings name it
    earlier = [state for state in lake.partitions("state") if state <= state_partition(start)]
    return None if earlier else nights[0]


def work_of(
    lake: Lake, found: Mapping[Night, Mapping[str, Any]], first: Night | None, settings: Settings
) -> Work:
    """Stages that are not done, with the hours that they take elsewhere in this lake."""
    from nightshift.commands.estimate import took, typical
    from nightshift.commands.standing import DONE, nights_in

    measured = [took(lake, night, settings) for night in nights_in(lake)]
    seconds = typical(measured)
    left = [
        (night, name)
        for night, row in found.items()
        for name, one in row.items()
        if one.state != DONE or one.made != one.wanted
    ]
    known = any(seconds[False].values())
    hours = sum(seconds[night == first].get(name, 0.0) for night, name in left) / _HOUR
    gpu = (
        sum(seconds[night == first].get(name, 0.0) for night, name in left if STAGES[name].gpu)
        / _HOUR
    )
    price = settings.cost.gpu_hour
    return Work(
        nights=len(found),
        nights_done=len(found) - len({night for night, _ in left}),
        stages=len(left),
        hours=hours if known else None,
        gpu_hours=gpu if known else None,
        money=gpu * price if known and price else None,
        measured_nights=len(measured),
    )


def backfill_command(nights: Sequence[Night], first: Night | None, *, at_once: int) -> str:
    """The line to copy.

    Runs that Airflow has of these nights, failed ones too, are run again: a stage that is done
    returns at once.
    """
    words = ["airflow", "backfill", "create", "--dag-id", "nightly"]
    words += ["--from-date", f"{nights[0].start:%Y-%m-%d}", "--to-date"]
    words += [f"{nights[-1].start:%Y-%m-%d}", "--max-active-runs", str(at_once)]
    words += ["--reprocess-behavior", "completed"]
    if first is not None:
        words += ["--dag-run-conf", json.dumps({"first_date": first.key})]
    return shlex.join(words)


def _words(work: Work, settings: Settings) -> Iterator[str]:
    yield f"to do: {work.stages} stages; {work.nights_done} of {work.nights} nights are done"
    if work.hours is None or work.gpu_hours is None:
        yield "estimate: none yet, since no night in this lake tells what a stage takes"
        return
    money = f", {work.money:,.2f} {settings.cost.currency}" if work.money is not None else ""
    yield (
        f"estimate, from {work.measured_nights} nights in this lake: {work.hours:.1f} hours of "
        f"stages, {work.gpu_hours:.1f} of them in the GPU pool{money}"
    )


def _how(command: str, lake: Lake, nights: Sequence[Night], first: Night | None) -> Iterator[str]:
    yield ""
    states = lake.partitions("state")
    if first is None and state_partition(nights[0].start) not in states and states:
        yield (
            f"No state ends where {nights[0].key} starts: backfill from the night after the last "
            "one that is there (`nightshift status`), or set night.on_gap=learn."
        )
    yield "Airflow runs one backfill of a DAG at a time, and none while the DAG is paused:"
    yield ""
    yield "  airflow dags unpause nightly"
    yield f"  {command}"
