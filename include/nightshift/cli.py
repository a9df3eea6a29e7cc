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
from pathlib import Path

import nightshift
from nightshift.errors import NightshiftError
from nightshift.progress import log_to_stderr

TERMINATION_LOG = Path("/dev/termination-log")
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
    log_to_stderr()
    try:
        arguments = parser().parse_args(argv)
        _set_threads()
        return int(arguments.command(arguments))
    except NightshiftError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        if os.access(TERMINATION_LOG, os.W_OK):
            TERMINATION_LOG.write_text(error.as_json())
        return error.exit_code
    except KeyboardInterrupt:
        print("nightshift: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
