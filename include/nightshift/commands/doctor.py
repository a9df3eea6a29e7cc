"""`nightshift doctor`: does this machine have what a night needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

from nightshift.commands.checks import FAIL, OK, WARN, Finding
from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.settings import Settings

EXIT_FAILED = 1
USUAL = ("python", "packages", "store", "lake", "models", "disk", "memory", "compute")
ON_REQUEST = ("encoder",)
"""Takes seconds: it loads the model and encodes."""

_DESCRIPTION = """\
Checks the connections (event store, lake), versions, models, disk, memory, threads and the clock.
Each line is ok, warn or FAIL, with a hint; the exit code is 1 when one failed. Nothing is changed:
a probe object in the lake is removed, an embedded server that was off is off again.

  nightshift doctor                       everything but `encoder`
  nightshift doctor --only store encoder  some of it; `encoder` loads the model and encodes
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "doctor",
        _run,
        help="connections, versions, models, disk: is everything there that a night needs",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*USUAL, *ON_REQUEST],
        default=USUAL,
        metavar="CHECK",
        help=f"some of: {', '.join([*USUAL, *ON_REQUEST])}",
    )


def _run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    found = []
    for finding in examine(settings, arguments.only):
        found.append(finding)
        hint = f"\n        hint: {finding.hint}" if finding.hint else ""
        print(f"{finding.status:4}  {finding.what}: {finding.detail}{hint}", flush=True)
    counts = {status: sum(f.status == status for f in found) for status in (OK, WARN, FAIL)}
    print(f"\n{counts[OK]} ok, {counts[WARN]} warnings, {counts[FAIL]} failed")
    if arguments.json:
        emit(arguments, {"findings": [asdict(finding) for finding in found]})
    if not counts[FAIL]:
        return 0
    failed = "; ".join(f"{f.what}: {f.detail}" for f in found if f.status == FAIL)
    print(f"nightshift: {failed}", file=sys.stderr)  # one line, as every command that fails ends
    return EXIT_FAILED


def examine(settings: Settings, only: Sequence[str] = USUAL) -> Iterator[Finding]:
    """Every finding of the checks asked for, in the order in which a person would ask."""
    from nightshift.commands.checks import encoder, machine, packages, places

    lake, findings = places.lake(settings) if {"lake", "disk"} & set(only) else (None, [])
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "python": machine.interpreter,
        "packages": packages.packages,
        "store": lambda: places.store(settings),
        "lake": lambda: findings,
        "models": lambda: packages.models(settings),
        "encoder": lambda: encoder.encodes(settings),
        "disk": lambda: machine.disk(settings, lake),
        "memory": machine.memory,
        "compute": lambda: machine.compute(settings),
    }
    for name, check in checks.items():
        if name in only:
            yield from check()
