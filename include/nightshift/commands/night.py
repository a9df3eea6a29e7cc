"""`nightshift night …`: one whole night without Airflow, or a public data set as one long night."""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from nightshift.commands.common import (
    Subparsers,
    add_command,
    emit,
    result_of,
    settings_of,
)
from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import DAY, Night, parse_time
from nightshift.settings import Settings
from nightshift.stages import Ran

SHOPS = ("amazon", "online-retail", "complete-journey")
_DESCRIPTION = """\
Run every stage of one night in this process.

  nightshift night --start 2017-11-20 --first            the first night: a day, from history alone
  nightshift night --start 2017-11-21                    the next one, from last night's state
  nightshift night --shop amazon --interactions interactions.csv.gz --items items.csv.gz \\
      --cut 0.9 --withhold 0.1 --seeds 3 --json beauty.json
                                                         a data set as one long first night

With --shop everything happens in a scratch store and lake; yours are not touched.
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "night", _run, help="one whole night without Airflow", description=_DESCRIPTION
    )
    parser.add_argument("--start", metavar="TIME", help="start of the night, UTC")
    parser.add_argument("--end", metavar="TIME", help="end of the night (default: a day later)")
    parser.add_argument("--first", action="store_true", help="learn from history, not from a state")
    shop = parser.add_argument_group("a data set as one long night, in a scratch store and lake")
    shop.add_argument("--shop", choices=SHOPS, help="what to load")
    shop.add_argument("path", nargs="?", type=Path, help="the file of online-retail")
    shop.add_argument("--interactions", type=Path, help="amazon: user_id, item_id, timestamp")
    shop.add_argument("--items", type=Path, help="amazon: item_id, title")
    shop.add_argument("--cut", type=float, default=0.9, help="quantile of event times (0.9)")
    shop.add_argument("--withhold", type=float, default=0.0, help="share of the items to withhold")
    shop.add_argument("--seeds", type=int, default=1, help="how many seeds per arm")
    shop.add_argument("--scratch", type=Path, help="folder to use and keep (default: temporary)")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.shop:
        from nightshift.commands.benchmark import run_benchmark

        return run_benchmark(arguments)
    if not arguments.start:
        raise UsageError(
            "A night needs --start.", hint="nightshift night --start 2017-11-20 --first"
        )
    start = parse_time(arguments.start)
    night = Night(start, parse_time(arguments.end) if arguments.end else start + DAY)
    changes: dict[str, Any] = {"night__first": start.isoformat()} if arguments.first else {}
    arguments.first = False  # --first of a stage command names --night; this one names --start
    settings = settings_of(arguments, **changes)
    results = run_and_show(night, settings)
    from nightshift.report.summary import print_summary

    if arguments.json:
        emit(arguments, results)
    print_summary(settings, [night])
    return 0


def run_and_show(night: Night, settings: Settings) -> list[dict[str, Any]]:
    """Run a night, a line per stage; returns the stages' results."""
    from nightshift.nights import run_night

    lake = Lake.of(settings)

    def told(ran: Ran) -> None:
        what = " ".join([ran.stage, *ran.manifest.partition.split("/")[1:]])
        state = f"{ran.seconds:.1f} s" if ran.worked else "done already"
        print(f"{night.key}  {what:<40} {state:>12}", flush=True)

    return [result_of(ran, lake) for ran in run_night(night, settings, told=told)]


def long_night(settings: Settings, cut: float) -> Night:
    """From the `cut` quantile of event times to the end of the data."""
    from sqlalchemy import text

    from nightshift.store.engine import begin

    query = text(
        "select percentile_disc(:cut) within group (order by occurred_at), max(occurred_at)"
        " from nightshift.events_v"
    )
    with begin(settings) as connection:
        start, last = connection.execute(query, {"cut": cut}).one()
    if start is None or start >= last:
        raise UsageError(
            f"--cut {cut} leaves no night: the events end at {last}.", hint="use a smaller --cut"
        )
    return Night(start, last + timedelta(seconds=1))


def benchmark_json(
    name: str,
    data: str,
    night: Night,
    settings: Settings,
    results: list[dict[str, Any]],
    started: float,
) -> dict[str, Any]:
    """The one line that a benchmark ends with."""
    lake = Lake.of(settings)
    evaluation = lake.get("evaluation", f"night={night.key}")
    recipe = lake.get("recipe", f"night={night.key}")
    rows = lake.read_json(evaluation, "results.json")
    return {
        "bench": name,
        "commit": evaluation.run["commit"],
        "data": data,
        "night": night.key,
        "seconds": round(time.monotonic() - started, 1),
        "recipe": lake.read_json(recipe, "recipe.json"),
        "stages": [{k: r[k] for k in ("stage", "partition", "seconds", "digest")} for r in results],
        "results": [row | {"data": data} for row in rows],
    }


def one_line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
