"""Waiting for a stage's pod without a worker, and not longer than there is something to wait for.

Airflow's own trigger waits for a pod on a lost node, or without its secret, until the task's time
is up. This one looks at each state that it is told, and ends the wait.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException

from nightshift_airflow.pods.lines import Lines

LOST_SECONDS = 60.0
"""A pod that should be gone for so long is held by a node that does not answer."""


class StagePodTrigger(KubernetesPodTrigger):
    """`KubernetesPodTrigger` that gives up on a pod that will not go on.

    Args:
        config_error_seconds: how long a container may wait for what it is made of.
    """

    def __init__(self, *, config_error_seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config_error_seconds = config_error_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, kwargs = super().serialize()
        place = f"{type(self).__module__}.{type(self).__qualname__}"
        return place, {**kwargs, "config_error_seconds": self.config_error_seconds}

    @cached_property
    def hook(self) -> AsyncKubernetesHook:
        return _WatchfulHook(
            self.config_error_seconds,
            conn_id=self.kubernetes_conn_id,
            in_cluster=self.in_cluster,
            config_dict=self.config_dict,
            cluster_context=self.cluster_context,
            connection_extras=self.connection_extras,
        )

    @cached_property
    def pod_manager(self) -> Lines:
        return Lines(async_hook=self.hook)


class _WatchfulHook(AsyncKubernetesHook):
    """Every state of the pod comes through here; a hopeless one ends the wait as a timeout does.

    As a timeout, since then Airflow neither waits for the pod's end nor defers again.
    """

    def __init__(self, config_error_seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._patience = config_error_seconds
        self._waits_since: float | None = None

    async def get_pod(self, name: str, namespace: str) -> Any:
        pod = await super().get_pod(name, namespace)
        if is_lost(pod):
            raise PodLaunchTimeoutException("the pod's node was lost")
        if not _lacks_something(pod):
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = time.monotonic()
        elif time.monotonic() - self._waits_since >= self._patience:
            raise PodLaunchTimeoutException("the pod's container cannot be made")
        return pod


def is_lost(pod: Any) -> bool:
    """Whether the pod's node has been given up."""
    if pod.status.reason == "NodeLost":
        return True
    until = pod.metadata.deletion_timestamp  # its grace is in it already
    return until is not None and (datetime.now(UTC) - until).total_seconds() > LOST_SECONDS


def _lacks_something(pod: Any) -> bool:
    states = [one.state for one in pod.status.container_statuses or []]
    return any(
        state.waiting and (state.waiting.reason or "").startswith("CreateContainer")
        for state in states
        if state
    )
