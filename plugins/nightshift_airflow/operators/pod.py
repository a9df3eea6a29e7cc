"""A stage as a Kubernetes pod: the same command, the same dataset, another machine.

A pod's phase is not believed: after it ended the lake is asked for the manifest. The settings
travel as environment variables; what is secret comes from a Kubernetes secret instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s  # type: ignore[import-untyped]

from nightshift.lake import Lake
from nightshift_airflow.operators.outcome import confirmed, summary
from nightshift_airflow.operators.stage import RESOLVER, describe_assets, wanted
from nightshift_airflow.resolver import Run
from nightshift_airflow.settings import PREFIX, AirflowSettings, airflow_settings
from nightshift_airflow.telemetry.lineage import Lineage
from nightshift_airflow.telemetry.lines import pod_line

SECRET = ("NIGHTSHIFT_STORE__", "NIGHTSHIFT_LAKE__OPTIONS")
"""Variables that may hold a password: they come from the secret, never from the pod's spec."""
LOCAL = ("NIGHTSHIFT_HOME", "NIGHTSHIFT_CONFIG", PREFIX)
"""Variables that mean a place on the machine that schedules."""
ON_GPU = frozenset({"generate", "tune", "finetune", "refresh"})
STARTUP_SECONDS = 900
"""Pulling an image with torch, or waiting for a GPU node to join, takes minutes."""


class PodStageOperator(Lineage, KubernetesPodOperator):
    """`StageOperator` on Kubernetes; takes the same `stage`, `parts` and `needs`."""

    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, "parts", "asked")
    ui_color = "#cfe3d4"

    def __init__(
        self,
        *,
        stage: str,
        parts: Mapping[str, str] | None = None,
        needs: str | None = None,
        place: AirflowSettings | None = None,
        **kwargs: Any,
    ) -> None:
        place = place or airflow_settings()
        gpus = {"nvidia.com/gpu": str(place.gpus)} if place.gpus and stage in ON_GPU else None
        defaults: dict[str, Any] = {
            "name": f"nightshift-{stage}",
            "namespace": place.namespace,
            "image": place.image,
            "cmds": ["python", "-m", "nightshift.cli"],
            "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=place.secret))],
            "labels": {"app": "nightshift", "nightshift/stage": stage},
            "container_resources": gpus and k8s.V1ResourceRequirements(limits=gpus),
            "pod_template_file": str(place.pod_template) if place.pod_template else None,
            "deferrable": True,
            "durable": True,  # a restarted task takes up its pod again, and starts no second
            "on_kill_action": "delete_pod",
            "do_xcom_push": False,  # no sidecar; the result comes from the lake
            "startup_timeout_seconds": STARTUP_SECONDS,
            "log_events_on_failure": True,
            "log_formatter": pod_line,
            "automount_service_account_token": False,
        }
        super().__init__(**(defaults | kwargs))
        self.stage = stage
        self.parts = parts
        self.needs = needs

    def execute(self, context: Any) -> Any:
        run = wanted(context, self.needs)
        self.arguments = run.arguments(self.stage, self.parts)
        self.env_vars = pod_environment(os.environ)
        super().execute(context)  # deferrable: raises TaskDeferred, goes on in trigger_reentry
        return self._finish(context, run)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        super().trigger_reentry(context, event)
        return self._finish(context, Run.from_json(context["ti"].xcom_pull(task_ids=RESOLVER)))

    def _finish(self, context: Any, run: Run) -> None:
        manifest = confirmed(self.stage, run, dict(self.parts or {}))
        uri = Lake.of(run.settings()).uri(manifest.folder)
        result = summary(self.stage, manifest, uri)
        describe_assets(self.outlets, context, run, result)
        context["ti"].xcom_push(key="return_value", value=result)


def pod_environment(environ: Mapping[str, str]) -> list[k8s.V1EnvVar]:
    """The settings of this process that a stage needs elsewhere, without secrets and places."""
    passed = {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith("NIGHTSHIFT_") and not name.startswith((*SECRET, *LOCAL))
    }
    passed |= {"GX_ANALYTICS_ENABLED": "false", "PYTHONUNBUFFERED": "1"}
    return [k8s.V1EnvVar(name=name, value=value) for name, value in passed.items()]
