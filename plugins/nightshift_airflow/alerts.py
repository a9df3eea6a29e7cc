"""Alerts: a task that failed for good, a night that is late, a live model that lags.

An alert is one line with its cause. It stands in Airflow's log, and goes as `{"text": …}` (what
Slack, Mattermost, Teams and most others read) to the webhook of `NIGHTSHIFT_AIRFLOW__ALERT_URL`. A
webhook that does not answer never fails what it speaks of.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import urllib.request
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import (  # type: ignore[attr-defined]  # its stub lags behind
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)
from airflow.sdk.bases.notifier import BaseNotifier

from nightshift_airflow.settings import airflow_settings

SEND_SECONDS = 10.0
RANGE = "range__"
"""Ids of the runs that `nightly_range` triggers begin so."""

_log = logging.getLogger("nightshift_airflow.alerts")


class Alert(BaseNotifier):
    """Says in one line which task of which night failed, why, and where its log is.

    Usable as any callback of a task: `on_failure_callback=Alert()`.
    """

    def notify(self, context: Any) -> None:
        send(failure(context))


class Question(BaseNotifier):
    """Says that a person is asked something, and where to answer."""

    def notify(self, context: Any) -> None:
        asking = context["task"]
        where = asking.generate_link_to_ui_from_context(context=context)
        send(f"{asking.subject} Answer: {where}", level=logging.INFO)


def failure(context: Mapping[str, Any]) -> str:
    """The line for a task that failed for good."""
    instance = context["ti"]
    index = getattr(instance, "map_index", -1)
    task = instance.task_id if index in (None, -1) else f"{instance.task_id}[{index}]"
    cause = " ".join(str(context.get("exception") or "it was stopped").split())
    log_url = getattr(instance, "log_url", None)
    where = f" Log: {log_url}" if log_url else ""
    return f"{instance.dag_id}, run {instance.run_id}: {task} failed: {cause}{where}"


def deadline(hours: float) -> DeadlineAlert:
    """Alert when a run is not over so many hours after it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=AsyncCallback(late, kwargs={"hours": hours}),
    )


async def late(hours: float, context: Mapping[str, Any]) -> str:
    """A run has passed its deadline; returns the line. Runs in the triggerer.

    The runs of a range are queued all at once and wait for each other: for those it is no news.
    """
    run = context.get("dag_run") or {}
    text = (
        f"{run.get('dag_id')}, run {run.get('dag_run_id')}: not over {hours:g} hours after it was "
        f"queued; its state is {run.get('state')}."
    )
    of_a_range = str(run.get("dag_run_id")).startswith(RANGE)
    if run.get("run_type") == "backfill" or of_a_range:
        _log.info("%s", text)
    else:
        await asyncio.to_thread(send, text)
    return text


def send(text: str, level: int = logging.ERROR) -> bool:
    """Log a line and post it to the webhook, if there is one; False when that did not take it."""
    _log.log(level, "ALERT %s", text)
    url = airflow_settings().alert_url
    if url is None:
        return False
    try:
        request = urllib.request.Request(  # noqa: S310  (the settings allow http and https alone)
            url.get_secret_value(),
            data=json.dumps({"text": f"Nightshift: {text}"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=SEND_SECONDS):  # noqa: S310
            return True
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The address is a secret: a webhook's path is its password.
        _log.warning("the alert could not be posted: %s", type(error).__name__)
        return False
