"""Which task tries are still going on, asked from inside a task.

An Airflow 3 task has no way into the metadata database; it asks the API server over its own
connection. That tells a task's state, not its try, which is enough: a later try takes up the pod
of an earlier one, so a pod is wanted as long as its task is not over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States in which no try of a task is going on, and none will be unless somebody clears it."""


def task_is_alive(who: Mapping[str, str]) -> bool:
    """Whether the task of a pod is going on, or will go on by itself; `reap` takes this as `alive`.

    Works inside a running task only. A task that Airflow does not know (any more) is not alive; an
    API server that does not answer is an error, and never a "no".

    Args:
        who: as `nightshift_airflow.pods.identity.who` gives it.
    """
    state = _states(who["dag_id"], who["run_id"], who["task_id"]).get(_key(who), "removed")
    return state not in OVER


def forget() -> None:
    """Ask anew: answers are kept for the length of one sweep."""
    _states.cache_clear()


def _key(who: Mapping[str, str]) -> str:
    """A mapped task's states are told as `task_index`."""
    mapped = int(who["map_index"]) >= 0
    return f"{who['task_id']}_{who['map_index']}" if mapped else who["task_id"]


@lru_cache(maxsize=1024)
def _states(dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=[run_id])
    states: dict[str, Any] = found.get(run_id, {})
    return {name: "none" if state is None else str(state) for name, state in states.items()}
