"""A `nightshift` command as a Kubernetes pod: how it starts, how it is watched, what ended it.

The settings travel as environment variables; what is secret comes from a Kubernetes secret instead.
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
from nightshift_airflow.pods import body, identity
from nightshift_airflow.pods.causes import Cause, Seen, cause_of
from nightshift_airflow.pods.environment import variables_of
from nightshift_airflow.pods.lines import show_rest
from nightshift_airflow.pods.start import said_by, take_up_or_create
from nightshift_airflow.pods.trigger import StagePodTrigger
from nightshift_airflow.settings import AirflowSettings, airflow_settings


class PodOperator(KubernetesPodOperator):
    """Airflow's operator with our defaults, deferred, and with a cause for every failure.

    Args:
        called: the command, as it stands in the pod's name and labels and in front of a cause.
        on_gpu: it asks for the GPUs of the settings.
    """

    ui_color = "#cfe3d4"

    def __init__(
        self,
        *,
        called: str,
        on_gpu: bool = False,
        place: AirflowSettings | None = None,
        **kwargs: Any,
    ) -> None:
        place = place or airflow_settings()
        template = (place.gpu_pod_template if on_gpu else None) or place.pod_template
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
        self.called = called
        self.place = place
        self.on_gpu = on_gpu and place.gpus > 0
        self.shown_until: Any = None

    # --- the start --------------------------------------------------------------------------

    def start(self, context: Any, words: Sequence[str]) -> Any:
        """Start the pod, or take it up, and defer; goes on in `trigger_reentry`."""
        settings = Settings.load()
        try:
            self.env_vars = [
                k8s.V1EnvVar(name=name, value=value)
                for name, value in variables_of(settings).items()
            ]
        except NightshiftError as error:
            raise AirflowFailException(str(error)) from None
        self.arguments = list(words)
        self.labels = {**self.labels, **identity.labels_of(self.called, settings)}
        self.annotations = {**self.annotations, **identity.annotations_of(context)}
        self.name = identity.pod_name(self.called, settings, context)
        return super().execute(context)

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

    def ended(self, context: Any, event: dict[str, Any]) -> tuple[Seen, Cause | None]:
        """What is known of the pod, and what went wrong with it; it is cleaned up in any case.

        Raises:
            AirflowException: the API does not answer; the pod is left to the next try.
        """
        seen = self._look(event)  # before the pod is deleted
        self.shown_until = event.get("last_log_time")
        if seen.has_run:
            self.shown_until = show_rest(self.client, seen.pod, self.shown_until)
        self.get_logs = False  # they are shown
        try:
            super().trigger_reentry(context, event)
        except (AirflowException, ApiException, HTTPError):
            return seen, cause_of(seen)
        return seen, None

    def _look(self, event: Mapping[str, Any]) -> Seen:
        """The pod with its warnings, as they are now."""
        name, namespace = event["name"], event["namespace"]
        told = str(event.get("message") or "")
        try:
            pod = self.hook.get_pod(name, namespace)
            listed = self.pod_manager.read_pod_events(pod).items
        except ApiException as error:
            if error.status != 404:
                raise AirflowException(_silent(self.called, name, error)) from None
            return Seen(self.called, None, (), told, self.on_gpu)
        except HTTPError as error:
            raise AirflowException(_silent(self.called, name, error)) from None
        warnings = [f"{one.reason}: {one.message}" for one in listed if one.type == "Warning"]
        return Seen(self.called, pod, warnings, told, self.on_gpu)


def _silent(called: str, name: str, error: Exception) -> str:
    return Cause(
        f"Kubernetes' API does not tell what became of the pod {name}: {said_by(error)}",
        "a retry takes the pod up again",
    ).line(called)
