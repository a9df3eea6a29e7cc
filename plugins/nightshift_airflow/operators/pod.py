"""A stage as a Kubernetes pod: the same command, the same dataset, another machine.

A pod's phase is not believed: after it ended the lake is asked for the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException

from nightshift.stages import STAGES
from nightshift_airflow.console import ended as told
from nightshift_airflow.operators.pod_base import PodOperator
from nightshift_airflow.operators.stage import RESOLVER, describe_assets, wanted
from nightshift_airflow.pods.result import result_of_pod
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.lineage import Lineage


class PodStageOperator(Lineage, PodOperator):
    """`StageOperator` on Kubernetes; takes the same `stage`, `parts` and `needs`."""

    template_fields: Sequence[str] = (*PodOperator.template_fields, "parts", "asked")

    def __init__(
        self,
        *,
        stage: str,
        parts: Mapping[str, str] | None = None,
        needs: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(called=stage, on_gpu=STAGES[stage].gpu, **kwargs)
        self.stage = stage
        self.parts = parts
        self.needs = needs

    def execute(self, context: Any) -> Any:
        run = wanted(context, self.needs)
        return self.start(context, run.arguments(self.stage, self.parts))

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Judge the pod by what it left in the lake."""
        run = Run.from_json(context["ti"].xcom_pull(task_ids=RESOLVER))
        seen, cause = self.ended(context, event)
        started = context["ti"].start_date
        try:
            result = result_of_pod(self.stage, run, dict(self.parts or {}), seen, cause, started)
        except AirflowException as error:
            self.log.error("%s", error)
            raise
        describe_assets(self.outlets, context, run, result)
        context["ti"].xcom_push(key="return_value", value=result)
        told(" ".join([self.stage, run.night.key, *(self.parts or {}).values()]), result)
        return result
