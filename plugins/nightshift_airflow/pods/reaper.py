"""Pods that nobody waits for any more: found by our labels, deleted.

A pod is deleted with its task's end. It is left over when a whole Airflow was lost, when its API
could not be reached at that moment, or when somebody removed a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import generic_api_retry
from kubernetes.client import ApiException  # type: ignore[import-untyped]

from nightshift.settings import Settings
from nightshift_airflow.pods.identity import APP, LAKE_LABEL, lake_label, who
from nightshift_airflow.pods.start import delete, said_by
from nightshift_airflow.settings import AirflowSettings

log = logging.getLogger(__name__)


def reap(
    place: AirflowSettings,
    *,
    alive: Callable[[Mapping[str, str]], bool],
    grace_seconds: float,
    dry: bool = False,
) -> dict[str, Any]:
    """Delete the pods whose task is over; what belongs to another lake or app is not looked at.

    Args:
        alive: given `dag_id`, `run_id`, `task_id`, `map_index` and `try_number` as text, whether
            that task is still going on; see `nightshift_airflow.pods.living.task_is_alive`.
        grace_seconds: a younger pod is left alone: its task may just be ending, or cleaning up.
        dry: say what would be deleted, and delete nothing.

    Returns:
        `{"seen", "alive", "young", "deleted", "failed"}`: three counts, then the names of the pods
        that were deleted (with `dry`: would be) and of those that Kubernetes did not delete.

    Raises:
        ApiException: the pods could not be listed.
        Exception: whatever `alive` raises, before anything is deleted.
    """
    hook = KubernetesHook(
        conn_id=place.kubernetes_connection,
        config_file=str(place.kube_config) if place.kube_config else None,
    )
    client = hook.core_v1_client
    selector = f"app={APP},{LAKE_LABEL}={lake_label(Settings.load())}"
    listed = generic_api_retry(client.list_namespaced_pod)(place.namespace, label_selector=selector)
    old = [pod for pod in listed.items if _seconds(pod) >= grace_seconds]
    orphans = [pod for pod in old if not alive(who(pod))]
    deleted, failed = [], []
    for pod in orphans:
        name = pod.metadata.name
        if dry or _deleted(client, pod):
            deleted.append(name)
            log.info("%s %s, left by %s", "would delete" if dry else "deleted", name, who(pod))
        else:
            failed.append(name)
    return {
        "seen": len(listed.items),
        "alive": len(old) - len(orphans),
        "young": len(listed.items) - len(old),
        "deleted": sorted(deleted),
        "failed": sorted(failed),
    }


def _deleted(client: Any, pod: Any) -> bool:
    try:
        delete(client, pod)
    except ApiException as error:
        log.warning("%s could not be deleted: %s", pod.metadata.name, said_by(error))
        return False
    return True


def _seconds(pod: Any) -> float:
    age: float = (datetime.now(UTC) - pod.metadata.creation_timestamp).total_seconds()
    return age
