"""`nightshift metrics`: the lake's gauges as Prometheus reads them."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.lake import Lake
from nightshift.night import Night

_DESCRIPTION = """\
The newest night's figures in Prometheus' text format: samples, acceptance, lift, verdict, how fresh
the live model is. Each stage is read from the newest night that has it.

  nightshift metrics --output /var/lib/node_exporter/textfile/nightshift.prom
  nightshift metrics | curl --data-binary @- http://127.0.0.1:9091/metrics/job/nightshift
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "metrics",
        _run,
        help="the newest night's figures, as Prometheus reads them",
        description=_DESCRIPTION,
    )
    parser.add_argument("--night", metavar="NIGHT", help="the datasets of this night alone")
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        help="replace this file in one step (a textfile collector never sees half of it)",
    )


def _run(arguments: argparse.Namespace) -> int:
    from nightshift.commands.readings import readings
    from nightshift.exposition import exposition

    settings = settings_of(arguments)
    night = None if arguments.night is None else Night.parse(arguments.night)
    found = readings(Lake.of(settings), settings, night)
    if arguments.output:
        _replace(arguments.output, exposition(found))
    elif not arguments.json:
        print(exposition(found), end="")
    if arguments.json:
        emit(arguments, [{"name": gauge.name, **asdict(gauge)} for gauge in found])
    return 0


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # no collector reads a hidden file
    try:
        temporary.write_text(text)
        temporary.chmod(0o644)  # a collector runs as a user of its own
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
