"""`nightshift doctor`: does this machine have what a night needs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict

from nightshift.commands.checks import FAIL, OK, WARN, Finding
from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.settings import Settings

EXIT_FAILED = 1

_DESCRIPTION = """\
Checks the connections (event store, lake), versions, models, disk, memory, threads and the clock.
Each line is ok, warn or FAIL, with a hint; the exit code is 1 when one failed. Nothing is changed:
a probe object in the lake is removed, an embedded server that was off is off again.
"""


def register(subparsers: Subparsers) -> None:
    add_command(
        subparsers,
        "doctor",
        _run,
        help="connections, versions, models, disk: is everything there that a night needs",
        description=_DESCRIPTION,
    )


def _run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    found = []
    for finding in examine(settings):
        found.append(finding)
        hint = f"\n        hint: {finding.hint}" if finding.hint else ""
        print(f"{finding.status:4}  {finding.what}: {finding.detail}{hint}", flush=True)
    counts = {status: sum(f.status == status for f in found) for status in (OK, WARN, FAIL)}
    print(f"\n{counts[OK]} ok, {counts[WARN]} warnings, {counts[FAIL]} failed")
    if arguments.json:
        emit(arguments, {"findings": [asdict(finding) for finding in found]})
    return EXIT_FAILED if counts[FAIL] else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which a person would ask."""
    from nightshift.commands.checks import machine, packages, places

    yield from machine.interpreter()
    yield from packages.packages()
    yield from places.store(settings)
    lake, findings = places.lake(settings)
    yield from findings
    yield from packages.models(settings)
    yield from machine.disk(settings, lake)
    yield from machine.memory()
    yield from machine.compute(settings)
