"""`python -m nightshift_airflow nightly|up|down|airflow …`: Airflow on this machine."""

# ruff: noqa: T201  (a command: what it prints is its result)

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from nightshift.errors import NightshiftError
from nightshift.night import nights_between, parse_time
from nightshift.settings import Settings

FIRST, LAST = "2017-11-20", "2017-11-22"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="nightshift_airflow", description=__doc__)
    commands = top.add_subparsers(dest="action", required=True)
    nightly = commands.add_parser("nightly", help="nights in a row through Airflow, from nothing")
    nightly.add_argument("--from", dest="first", default=FIRST, help="the first night")
    nightly.add_argument("--to", dest="last", default=LAST, help="the last night")
    up = commands.add_parser("up", help="start Airflow with its UI")
    up.add_argument("--port", type=int, help="of the UI; by default 8080 or the next free one")
    commands.add_parser("down", help="stop it, and the embedded Postgres")
    airflow = commands.add_parser("airflow", help="Airflow's own command, on this home")
    airflow.add_argument("arguments", nargs=argparse.REMAINDER, help="such as: backfill create …")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except NightshiftError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("nightshift: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    from nightshift_airflow.local import nights, stack

    settings = Settings.load()
    if arguments.action == "up":
        return stack.up(settings, port=arguments.port)
    if arguments.action == "down":
        return stack.down(settings)
    if arguments.action == "airflow":
        return stack.airflow(settings, arguments.arguments)
    wanted = nights_between(parse_time(arguments.first), parse_time(arguments.last))
    return nights.run_nights(settings, wanted)


if __name__ == "__main__":
    sys.exit(main())
