"""`nightshift …`: what a pod runs and what a person runs.

Results go to stdout (the last line is JSON), everything else to stderr. The exit code says what
went wrong: see `nightshift.errors`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nightshift
from nightshift.errors import NightshiftError, SettingsError
from nightshift.last_word import leave

COMMANDS = ("night", "stage", "settings", "load", "store", "registry", "status", "doctor")

_DESCRIPTION = """\
The night crew of an online shop: writes the training samples that the shop is short of, inspects
every one, fine-tunes the recommender, and promotes it only when held-out customers show a gain.

  nightshift load complete-journey               a shop to try it on
  nightshift night --start 2017-11-20 --first    one whole night, without Airflow
  nightshift status                              nights × stages: done, stale, missing
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="nightshift",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=nightshift.__version__)
    subparsers = top.add_subparsers(dest="action", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"nightshift.commands.{name}").register(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    try:
        arguments = parser().parse_args(argv)
        _set_threads()
        return int(arguments.command(arguments))
    except NightshiftError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        leave(_termination_log(), error.as_json())
        return error.exit_code
    except KeyboardInterrupt:
        print("nightshift: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _termination_log() -> Path:
    """Where the settings put it; what is wrong may be the settings themselves."""
    from nightshift.settings import Settings
    from nightshift.settings.sections import ComputeSettings

    try:
        return Settings.load().compute.termination_log
    except SettingsError:
        return ComputeSettings().termination_log


def _set_threads() -> None:
    """Thread pools read these once, at import: set before anything heavy is imported."""
    from nightshift.settings import Settings

    threads = str(Settings.load().compute.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, threads)
    # Waiting threads sleep: on a busy machine, spinning ones make a step ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    sys.exit(main())
