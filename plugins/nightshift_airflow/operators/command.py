"""Any `nightshift` command as a task: what is no stage, such as `doctor` or `approve`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from nightshift_airflow.console import line
from nightshift_airflow.operators.outcome import raise_for
from nightshift_airflow.operators.stage import stage_environment
from nightshift_airflow.process import GroupProcess


class CommandOperator(BaseOperator):
    """Runs `nightshift COMMAND …` and returns the JSON of its last line; None when it prints none.

    Args:
        command: the words after `nightshift`; templated, each word for itself and never by a shell.
    """

    template_fields: Sequence[str] = ("command",)
    ui_color = "#e8e3f3"

    def __init__(self, *, command: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.command = list(command)
        self._process = GroupProcess()

    def execute(self, context: Any) -> Any:  # noqa: ARG002  (Airflow's signature)
        exited = self._process.run(
            [sys.executable, "-m", "nightshift.cli", *self.command],
            env=stage_environment(os.environ),
            on_stdout=lambda text: self.log.info("%s", text),
            on_stderr=line,
        )
        raise_for(self.command[0], exited)
        try:
            return json.loads(exited.stdout[-1])
        except (IndexError, ValueError):
            return None

    def on_kill(self) -> None:
        self._process.stop()
