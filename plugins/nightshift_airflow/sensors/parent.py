"""Order comes from the lake: a night waits for the state that ends where it starts.

The wait is deferred to the triggerer, so a long backfill holds no worker. The first night waits
for nothing. With `night.on_gap=learn` a night goes on, once the wait is over, from the last state
that there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from nightshift.errors import ParentMissing
from nightshift.lake import Lake
from nightshift.night import parse_time
from nightshift.stages import parent_state, state_partition
from nightshift_airflow.operators.stage import RESOLVER
from nightshift_airflow.resolver import Run
from nightshift_airflow.settings import airflow_settings

POLL_SECONDS = 5.0


def found(run: Run) -> dict[str, Any] | None:
    """Where the state lies that ends at this night's start; None while there is none."""
    lake = Lake.of(run.settings())
    manifest = lake.find("state", state_partition(run.night.start))
    return None if manifest is None else {"uri": lake.uri(manifest.folder)}


class ParentTrigger(BaseTrigger):
    """Looks into the lake until the state is there or the time is up."""

    def __init__(self, *, run: dict[str, Any], until: float, poll: float = POLL_SECONDS) -> None:
        super().__init__()
        self.run_json, self.until, self.poll = run, until, poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        place = f"{type(self).__module__}.{type(self).__qualname__}"
        return place, {"run": self.run_json, "until": self.until, "poll": self.poll}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        run = Run.from_json(self.run_json)
        while (state := await asyncio.to_thread(found, run)) is None:
            if time.time() >= self.until:
                yield TriggerEvent({"state": None})
                return
            await asyncio.sleep(self.poll)
        yield TriggerEvent({"state": state})


class WaitForParent(BaseOperator):
    """Succeeds when the state that this night starts from is in the lake.

    Args:
        wait_seconds: how long; by default the setting `parent_wait_seconds`.
    """

    def __init__(self, *, wait_seconds: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait_seconds = wait_seconds

    def execute(self, context: Any) -> dict[str, Any] | None:
        raw = context["ti"].xcom_pull(task_ids=RESOLVER)
        run = Run.from_json(raw)
        if run.dry:
            raise AirflowSkipException("a dry run ends with the plan")
        if _is_first(run):
            self.log.info("night %s is the first one: it starts from no state", run.night.key)
            return None
        if (state := found(run)) is not None:
            return state
        wait = self.wait_seconds
        wait = airflow_settings().parent_wait_seconds if wait is None else wait
        self.log.info("waiting up to %d s for the state of the night before", wait)
        self.defer(
            trigger=ParentTrigger(run=dict(raw), until=time.time() + wait),
            method_name="resume",
        )
        return None

    def resume(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        if event["state"] is not None:
            return dict(event["state"])
        run = Run.from_json(context["ti"].xcom_pull(task_ids=RESOLVER))
        settings = run.settings()
        lake = Lake.of(settings)
        try:
            parent = parent_state(lake, run.night, settings)
        except ParentMissing as error:
            raise AirflowFailException(str(error)) from None
        if parent is None:
            raise AirflowFailException(f"Night {run.night.key} turned into a first night.")
        self.log.warning("a gap: going on from %s", parent.partition)
        return {"uri": lake.uri(parent.folder)}


def _is_first(run: Run) -> bool:
    """Named so by the form, or by the setting `night.first`."""
    first = run.settings().night.first
    return first is not None and parse_time(first.isoformat()) == run.night.start
