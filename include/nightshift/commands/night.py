"""`nightshift night …`: one whole night without Airflow, or a public data set as one long night."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.commands.common import (
    Subparsers,
    add_command,
    add_strategies,
    emit,
    settings_of,
)
from nightshift.commands.showing import run_and_show
from nightshift.errors import UsageError
from nightshift.night import DAY, Night, parse_time

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
    add_strategies(parser)
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
