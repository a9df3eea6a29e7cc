"""`nightshift …`: what a pod runs and what a person runs.

Results go to stdout (the last line is JSON), everything else to stderr. The exit code says what
went wrong: see `nightshift.errors`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import nightshift
from nightshift import logs
from nightshift.commands.common import settings_of
from nightshift.errors import NightshiftError, SettingsError
from nightshift.last_word import leave
from nightshift.settings import Settings

COMMANDS = (
    "night",
    "stage",
    "settings",
    "load",
    "store",
    "registry",
    "approval",
    "serve",
    "status",
    "backfill_plan",
    "export",
    "metrics",
    "doctor",
    "housekeeping",
)

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
    try:
        arguments = parser().parse_args(argv)
        settings = settings_of(argparse.Namespace(set=arguments.set))
        logs.set_up(settings.log)
        _set_threads(settings)
        return int(arguments.command(arguments))
    except NightshiftError as error:
        _say(error)
        leave(_termination_log(), error.as_json())
        return error.exit_code
    except KeyboardInterrupt:
        logs.last_word("stopped; run the same command again to go on")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _say(error: NightshiftError) -> None:
    """In the shape that was asked for, also when the command line itself was wrong."""
    if not logs.is_set_up():
        with suppress(NightshiftError):  # settings that cannot be read may be what `error` is about
            logs.set_up(Settings.load().log)
    logs.last_word(error)


def _termination_log() -> Path:
    """Where the settings put it; what is wrong may be the settings themselves."""
    from nightshift.settings.places import ComputeSettings

    try:
        return Settings.load().compute.termination_log
    except SettingsError:
        return ComputeSettings().termination_log


def _set_threads(settings: Settings) -> None:
    """Thread pools read these once, at import: set before anything heavy is imported."""
    threads = str(settings.compute.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, threads)
    # Waiting threads sleep: on a busy machine, spinning ones make a step ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    sys.exit(main())
