"""What a person follows: the lines of the stages, without Airflow's own.

They go to the task's log like any other line; `make nightly` shows them in the terminal as well.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from nightshift_airflow.telemetry.lines import read

LOGGER = "nightshift_airflow.console"

_log = logging.getLogger(LOGGER)

tally: Counter[bool] = Counter()
"""Stages that this process ran: True for those that did work, False for done before."""


def line(text: str) -> None:
    """A line that a stage wrote, in text or JSON."""
    said = read(text)
    _log.log(said.level, "%s", said.text)


def say(text: str) -> None:
    """A line of our own, in the shape of the stages' lines."""
    line(f"{time.strftime('%H:%M:%S')} {text}")


def ended(name: str, result: Mapping[str, Any]) -> None:
    """Say how a stage ended, and count it."""
    tally[result["worked"]] += 1
    how = "done" if result["worked"] else "was done before"
    rows = f", {result['rows']:,} rows" if result["rows"] else ""
    say(f"{name}: {how}, {result['seconds']:.1f} s{rows}")
