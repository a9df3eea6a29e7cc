"""Starting a stage's pod: the one that works already, or a new one, and never two."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import generic_api_retry
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from nightshift_airflow.pods.causes import Cause

GONE_SECONDS = 0.5
"""How often it is asked whether a pod that is being deleted is gone."""
CONFLICT, NOT_FOUND = 409, 404
_INVALID = frozenset({400, 422})

log = logging.getLogger(__name__)


def take_up_or_create(client: Any, request: Any, selector: str, *, patience: float) -> Any:
    """The pod of an earlier try that still works, else the one that is asked for.

    Finished pods of the task, and all working ones but the oldest, are deleted.

    Args:
        request: a V1Pod whose name belongs to this try of the task alone.
        selector: of the labels that all tries share.
        patience: seconds to wait for an ended pod of the same name to be gone.

    Raises:
        AirflowFailException: Kubernetes takes the pod for invalid.
        AirflowException: it refuses it for another reason, or does not answer.
    """
    name, namespace = request.metadata.name, request.metadata.namespace
    try:
        found = generic_api_retry(client.list_namespaced_pod)(namespace, label_selector=selector)
        working = sorted(filter(works, found.items), key=lambda pod: _age(pod))
        for pod in found.items:
            if pod not in working[:1]:
                delete(client, pod)
        if working:
            log.info("taking up the pod %s, which works already", working[0].metadata.name)
            return working[0]
        return _create(client, namespace, name, request, time.monotonic() + patience)
    except (ApiException, HTTPError) as error:
        said = said_by(error)
        kind = AirflowFailException if _status(error) in _INVALID else AirflowException
        cause = Cause(
            f"Kubernetes does not take its pod: {said}",
            "check the pod template, the namespace's quota, and what Airflow's account may do",
        )
        raise kind(cause.line(name)) from None


def _create(client: Any, namespace: str, name: str, request: Any, until: float) -> Any:
    """Ask for the pod. That it exists already means: our own request, whose answer was lost."""
    while True:
        answer = generic_api_retry(_asked)(client, namespace, request)
        if answer is not None:
            return answer
        try:
            there = generic_api_retry(client.read_namespaced_pod)(name, namespace)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
            continue
        if works(there):
            log.info("taking up the pod %s, which this try has started before", name)
            return there
        if time.monotonic() > until:
            raise AirflowException(f"The pod {name} has ended, but its object does not go away.")
        delete(client, there)
        time.sleep(GONE_SECONDS)


def _asked(client: Any, namespace: str, request: Any) -> Any | None:
    """The pod as it was made; None for a conflict, which asking again would not settle."""
    try:
        return client.create_namespaced_pod(namespace, request)
    except ApiException as error:
        if error.status != CONFLICT:
            raise
        return None


def delete(client: Any, pod: Any) -> None:
    """Delete this very pod, and not one that has got its name since; gone is fine."""
    body = {"preconditions": {"uid": pod.metadata.uid}}
    asking = generic_api_retry(client.delete_namespaced_pod)
    try:
        asking(pod.metadata.name, pod.metadata.namespace, body=body)
    except ApiException as error:
        if error.status not in (NOT_FOUND, CONFLICT):
            raise


def works(pod: Any) -> bool:
    """Whether there is still something to wait for."""
    over = pod.metadata.deletion_timestamp is not None
    return not over and pod.status.phase not in ("Succeeded", "Failed")


def said_by(error: Exception) -> str:
    """The words of Kubernetes' API, or of the connection to it, on one line."""
    text = str(error)
    if isinstance(error, ApiException):
        try:
            text = json.loads(error.body)["message"]
        except (TypeError, ValueError, KeyError):
            text = f"{error.status} {error.reason}"
    return " ".join(text.split())


def _status(error: Exception) -> int | None:
    return error.status if isinstance(error, ApiException) else None


def _age(pod: Any) -> Any:
    return pod.metadata.creation_timestamp
