"""The stage's lines in the task's log: each one once, while it works.

Kubernetes tells a log from a whole second on, by the node's clock. What was shown already is known
by the lines' own times, so neither a slow clock nor a second's rest loses or repeats a line.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from airflow.providers.cncf.kubernetes.utils.pod_manager import AsyncPodManager, parse_log_line
from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes_asyncio.client import ApiException as AsyncApiException
from urllib3.exceptions import HTTPError

from nightshift_airflow.console import line
from nightshift_airflow.telemetry.lines import read

SKEW_SECONDS = 60
"""So much may the node's clock differ from ours."""

log = logging.getLogger(__name__)


class Lines(AsyncPodManager):
    """Airflow's reader of a running pod, with this module's way of reading its log."""

    async def fetch_container_logs_before_current_sec(
        self, pod: Any, container_name: str, since_time: Any = None
    ) -> Any:
        """Show what is new; the time of the last line shown. Trouble here is no failure."""
        try:
            raw = await self._hook.read_logs(
                name=pod.metadata.name,
                namespace=pod.metadata.namespace,
                container_name=container_name,
                since_seconds=_seconds_since(since_time),
            )
        except (AsyncApiException, OSError, HTTPError) as error:
            self.log.warning("the stage's lines could not be read: %s", _short(error))
            return since_time
        lines, last = await asyncio.to_thread(fresh, raw, since_time)
        for text in lines:
            said = read(text)
            self.log.log(said.level, "%s", said.text)
        return last


def show_rest(client: Any, pod: Any, since_time: Any) -> Any:
    """Show the lines after `since_time` of a pod, once nobody else does; the last one's time."""
    if isinstance(since_time, str):
        since_time = datetime.fromisoformat(since_time)
    try:
        raw = client.read_namespaced_pod_log(
            pod.metadata.name,
            pod.metadata.namespace,
            container=pod.spec.containers[0].name,
            timestamps=True,
            **({} if since_time is None else {"since_seconds": _seconds_since(since_time)}),
            _preload_content=False,
        ).data.decode(errors="replace")
    except (ApiException, HTTPError) as error:
        log.warning("the stage's last lines could not be read: %s", _short(error))
        return since_time
    lines, last = fresh(raw.splitlines(), since_time)
    for text in lines:
        line(text)
    return last


def fresh(raw: Iterable[str], after: datetime | None) -> tuple[list[str], datetime | None]:
    """The lines that are younger than `after`, without their times; the time of the last one."""
    shown: list[str] = []
    last, new = after, True
    for one in raw:
        at, text = parse_log_line(one)
        if at is not None:
            new = after is None or at > after
            last = max(at, last) if last is not None else at
        if new and text.strip():
            shown.append(text.rstrip())
    return shown, last


def _seconds_since(time: datetime | None) -> int | None:
    if time is None:
        return None
    return math.ceil(max(0.0, (datetime.now(UTC) - time).total_seconds())) + SKEW_SECONDS


def _short(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split())
