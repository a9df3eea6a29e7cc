"""`nightshift candidate | approve | reject | freshness`: a person's say in what goes live."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nightshift.commands.common import (
    Subparsers,
    add_command,
    emit,
    settings_of,
    time_option,
)
from nightshift.lake import Lake
from nightshift.night import Night

_APPROVE = """\
Make a night's model live, with its recommendations in Postgres. For `promotion.approval` =
new_line or every_night, where `score` leaves that to a person; also puts a night live again that
was rolled back. A night older than what is live is refused; `nightshift rollback` goes back to
what was live before.
"""


def register(subparsers: Subparsers) -> None:
    candidate = add_command(
        subparsers,
        "candidate",
        _candidate,
        help="what a night offers, with its evidence",
    )
    _add_night(candidate)
    approve = add_command(
        subparsers,
        "approve",
        _approve,
        help="a person's yes: make a night's model live",
        description=_APPROVE,
    )
    reject = add_command(
        subparsers, "reject", _reject, help="a person's no to a night's model; what is live stays"
    )
    for parser in (approve, reject):
        _add_night(parser)
        parser.add_argument("--by", required=True, help="who decides; it is recorded")
        parser.add_argument("--reason", required=True, help="why, in one sentence; it is recorded")
        parser.add_argument(
            "--digest",
            help="of the state that was shown (`nightshift candidate`); another is refused",
        )
    freshness = add_command(
        subparsers,
        "freshness",
        _freshness,
        help="how much the live model lags the clock; exit code 42 when too much",
    )
    freshness.add_argument(
        "--as-of", metavar="TIME", type=time_option, help="instead of now, for a shop of the past"
    )


def _add_night(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--night", metavar="NIGHT", type=Night.parse, help="default: the newest that was scored"
    )


def _candidate(arguments: argparse.Namespace) -> int:
    from nightshift.registry.approval import candidate

    found = candidate(Lake.of(settings_of(arguments)), arguments.night)
    print(found.card)
    print(f"{found.standing}: the {found.line} line of night {found.night}")
    emit(arguments, asdict(found) | {"waits": found.waits})
    return 0


def _approve(arguments: argparse.Namespace) -> int:
    from nightshift.registry.approval import approve

    settings = settings_of(arguments)
    offered, alias = approve(Lake.of(settings), settings, arguments.night, **_who(arguments))
    print(f"live: night {offered.night}, the {offered.line} line")
    emit(arguments, asdict(alias))
    return 0


def _reject(arguments: argparse.Namespace) -> int:
    from nightshift.registry.approval import LIVE, PASSED, reject

    offered = reject(Lake.of(settings_of(arguments)), arguments.night, **_who(arguments))
    nothing = offered.standing in (LIVE, PASSED)
    done = f"nothing to reject, it is {offered.standing}" if nothing else "rejected"
    print(f"{done}: night {offered.night}, the {offered.line} line; what is live stays")
    emit(arguments, {"night": offered.night, "choice": None if nothing else "rejected"})
    return 0


def _who(arguments: argparse.Namespace) -> dict[str, Any]:
    """Who decides on what, and why."""
    return {"by": arguments.by, "reason": arguments.reason, "digest": arguments.digest}


def _freshness(arguments: argparse.Namespace) -> int:
    from nightshift.registry.freshness import check

    settings = settings_of(arguments)
    found = check(Lake.of(settings), settings, arguments.as_of or datetime.now(UTC))
    print(
        f"live: the {found.line} line of night {found.night}, "
        f"{found.lag_hours:.1f} h behind the clock"
    )
    emit(arguments, asdict(found))
    return 0
