"""What a person follows: the lines of the stages, without Airflow's own.

They go to the task's log like any other line; `make nightly` shows them in the terminal as well.
"""

from __future__ import annotations

import logging
import time

LOGGER = "nightshift_airflow.console"

_log = logging.getLogger(LOGGER)


def line(text: str) -> None:
    """A line that a stage wrote, as it is."""
    _log.info("%s", text)


def say(text: str) -> None:
    """A line of our own, in the shape of the stages' lines."""
    line(f"{time.strftime('%H:%M:%S')} {text}")
