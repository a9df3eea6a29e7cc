"""A stage as a Kubernetes pod: the same command, the same dataset, another machine.

A pod's phase is not believed: after it ended the lake is asked for the manifest. The settings
travel as environment variables; what is secret comes from a Kubernetes secret instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes.client import models as k8s
from urllib3.exceptions import HTTPError

from nightshift.errors import NightshiftError
from nightshift.settings import Settings
from nightshift_airflow.console import ended
from nightshift_airflow.operators.stage import RESOLVER, describe_assets, wanted
from nightshift_airflow.pods import body, identity
from nightshift_airflow.pods.causes import Cause, Seen, cause_of
from nightshift_airflow.pods.environment import variables_of
from nightshift_airflow.pods.lines import show_rest
from nightshift_airflow.pods.result import result_of_pod
from nightshift_airflow.pods.start import said_by, take_up_or_create
from nightshift_airflow.pods.trigger import StagePodTrigger
from nightshift_airflow.resolver import Run
from nightshift_airflow.settings import AirflowSettings, airflow_settings

ON_GPU = frozenset({"generate", "tune", "finetune", "refresh"})


class PodStageOperator(KubernetesPodOperator):
    """`StageOperator` on Kubernetes; takes the same `stage`, `parts` and `needs`."""

    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, "parts")
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
        on_gpu = stage in ON_GPU and place.gpus > 0
        template = (place.gpu_pod_template if stage in ON_GPU else None) or place.pod_template
        defaults: dict[str, Any] = {
            "namespace": place.namespace,
            "image": place.image,
            "image_pull_policy": place.image_pull_policy,
            "service_account_name": place.service_account,
            "kubernetes_conn_id": place.kubernetes_connection,
            "config_file": str(place.kube_config) if place.kube_config else None,
            "cmds": ["python", "-m", "nightshift.cli"],
            "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=place.secret))],
            "pod_template_file": str(template) if template else None,
            "random_name_suffix": False,  # the name is the task try's: see pods.identity
            "durable": True,  # a restarted task takes up its pod again, and starts no second
            "on_kill_action": "delete_pod",
            "do_xcom_push": False,  # no sidecar; the result comes from the lake
            "schedule_timeout_seconds": place.schedule_seconds,
            "startup_timeout_seconds": place.startup_seconds,
            "startup_check_interval_seconds": place.poll_seconds,
            "poll_interval": place.poll_seconds,
            "logging_interval": place.log_seconds,
            "termination_grace_period": place.stop_seconds,
            "termination_message_policy": "FallbackToLogsOnError",
            "log_events_on_failure": True,
            "log_pod_spec_on_failure": False,
        }
        super().__init__(**(defaults | kwargs | {"deferrable": True}))
        self.stage = stage
        self.parts = parts
        self.needs = needs
        self.place = place
        self.on_gpu = on_gpu
        self.shown_until: Any = None

    # --- the start --------------------------------------------------------------------------

    def execute(self, context: Any) -> Any:
        run = wanted(context, self.needs)
        settings = Settings.load()
        try:
            self.env_vars = [
                k8s.V1EnvVar(name=name, value=value)
                for name, value in variables_of(settings).items()
            ]
        except NightshiftError as error:
            raise AirflowFailException(str(error)) from None
        self.arguments = run.arguments(self.stage, self.parts)
        self.labels = {**self.labels, **identity.labels_of(self.stage, settings)}
        self.annotations = {**self.annotations, **identity.annotations_of(context)}
        self.name = identity.pod_name(self.stage, settings, context)
        return super().execute(context)  # deferred there; goes on in trigger_reentry

    def build_pod_request_obj(self, context: Any = None, *, dry_run: bool = False) -> Any:
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else None
        return body.finish(pod, self.place, on_gpu=self.on_gpu, deadline=limit)

    def get_or_create_pod(self, pod_request_obj: Any, context: Any) -> Any:
        return take_up_or_create(
            self.client,
            pod_request_obj,
            self._build_find_pod_label_selector(context),
            patience=self.place.startup_seconds,
        )

    def defer(self, *, trigger: Any, **kwargs: Any) -> NoReturn:
        _, given = trigger.serialize()
        given |= {"get_logs": True, "last_log_time": self.shown_until}
        ours = StagePodTrigger(config_error_seconds=self.place.config_error_seconds, **given)
        super().defer(trigger=ours, **kwargs)

    # --- the end ----------------------------------------------------------------------------

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Judge the pod by what it left in the lake; clean up in any case."""
        run = Run.from_json(context["ti"].xcom_pull(task_ids=RESOLVER))
        seen = self._look(event)  # before the pod is deleted
        self.shown_until = event.get("last_log_time")
        if seen.has_run:
            self.shown_until = show_rest(self.client, seen.pod, self.shown_until)
        self.get_logs = False  # they are shown
        failed: Exception | None = None
        try:
            super().trigger_reentry(context, event)
        except (AirflowException, ApiException, HTTPError) as error:
            failed = error
        cause = None if failed is None else cause_of(seen)
        started = context["ti"].start_date
        try:
            result = result_of_pod(self.stage, run, dict(self.parts or {}), seen, cause, started)
        except AirflowException as error:
            self.log.error("%s", error)
            raise
        describe_assets(self.outlets, context, run, result)
        context["ti"].xcom_push(key="return_value", value=result)
        ended(" ".join([self.stage, run.night.key, *(self.parts or {}).values()]), result)
        return result

    def _look(self, event: Mapping[str, Any]) -> Seen:
        """The pod with its warnings, as they are now.

        Raises:
            AirflowException: the API does not answer; the pod is left to the next try.
        """
        name, namespace = event["name"], event["namespace"]
        told = str(event.get("message") or "")
        try:
            pod = self.hook.get_pod(name, namespace)
            listed = self.pod_manager.read_pod_events(pod).items
        except ApiException as error:
            if error.status != 404:
                raise AirflowException(_silent(self.stage, name, error)) from None
            return Seen(self.stage, None, (), told, self.on_gpu)
        except HTTPError as error:
            raise AirflowException(_silent(self.stage, name, error)) from None
        warnings = [f"{one.reason}: {one.message}" for one in listed if one.type == "Warning"]
        return Seen(self.stage, pod, warnings, told, self.on_gpu)


def _silent(stage: str, name: str, error: Exception) -> str:
    return Cause(
        f"Kubernetes' API does not tell what became of the pod {name}: {said_by(error)}",
        "a retry takes the pod up again",
    ).line(stage)
