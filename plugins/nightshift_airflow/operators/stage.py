"""A stage as a local process: the default runner, and what every test of the DAG runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightshift_airflow.console import ended, line
from nightshift_airflow.operators.outcome import result_of_process
from nightshift_airflow.process import GroupProcess
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.lineage import Lineage
from nightshift_airflow.telemetry.stats import told

RESOLVER = "night"
"""The task that resolves the run's night; its return value is a `Run` as JSON."""


class StageOperator(Lineage, BaseOperator):
    """Runs `nightshift STAGE --night …` and returns its result: a URI, a digest, counts.

    Args:
        stage: a name of `nightshift.stages.STAGES`.
        parts: further partition levels, such as {"shard": "text_neighbours-000"}.
        needs: a task whose return value must exist. Under `all_done` Airflow would start this
            task after any failure; this keeps it from going on with an older night's plan.
    """

    template_fields: Sequence[str] = ("parts", "asked")
    ui_color = "#dbe7f3"

    def __init__(
        self,
        *,
        stage: str,
        parts: Mapping[str, str] | None = None,
        needs: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.parts = parts
        self.needs = needs
        self._process = GroupProcess()

    def execute(self, context: Any) -> dict[str, Any]:
        run = wanted(context, self.needs)
        parts = dict(self.parts or {})
        exited = self._process.run(
            [sys.executable, "-m", "nightshift.cli", *run.arguments(self.stage, parts)],
            env=stage_environment(os.environ),
            on_stdout=lambda text: self.log.info("%s", text),
            on_stderr=line,
        )
        result = result_of_process(self.stage, run, parts, exited)
        describe_assets(self.outlets, context, run, result)
        ended(" ".join([self.stage, run.night.key, *parts.values()]), result)
        return result

    def on_kill(self) -> None:
        self._process.stop()


def wanted(context: Any, needs: str | None) -> Run:
    """The run's night, from the task that resolved it.

    Raises:
        AirflowFailException: the night was not resolved, or the task named by `needs` failed.
        AirflowSkipException: it did, in a dry run, which ends there.
    """
    task_instance = context["ti"]
    resolved = task_instance.xcom_pull(task_ids=RESOLVER)
    if resolved is None:  # an `all_done` task starts after any failure
        raise AirflowFailException(f"No night was resolved; see the log of the task {RESOLVER!r}.")
    run = Run.from_json(resolved)
    if run.skip:
        raise AirflowSkipException(run.skip)
    if needs is not None:
        if task_instance.xcom_pull(task_ids=needs) is None:
            raise AirflowFailException(f"The task {needs!r} did not succeed; see its log.")
        if run.dry:
            raise AirflowSkipException("a dry run ends with the plan")
    return run


def stage_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stage: Airflow's own settings and secrets stay out of it."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "__AIRFLOW", "NIGHTSHIFT_AIRFLOW__"))
    }
    return kept | {"GX_ANALYTICS_ENABLED": "false", "PYTHONUNBUFFERED": "1"}


def describe_assets(
    outlets: Sequence[Any], context: Any, run: Run, result: Mapping[str, Any]
) -> None:
    """Let an asset's event say which night it is and where it lies; tell the stage's metrics."""
    told(run, result)
    for asset in outlets:
        context["outlet_events"][asset].extra = {
            "night": run.night.key,
            "uri": result["uri"],
            "digest": result["digest"],
        }
