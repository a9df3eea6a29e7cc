"""Whose pod is this? Labels to find it by, annotations that say it in full, a name of its own.

Airflow's labels cut and hash what Kubernetes does not allow in them (a run id holds colons), so
the annotations carry the same values unchanged. The name follows from the task's try: the API
server itself then refuses a second pod for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from nightshift.settings import Settings

APP = "nightshift"
STAGE_LABEL, LAKE_LABEL = "nightshift/stage", "nightshift/lake"
_ANNOTATION = "nightshift/"
WHO = ("dag_id", "run_id", "task_id", "map_index", "try_number")


def lake_label(settings: Settings) -> str:
    """Tells installations that share a namespace apart: the lake they work on."""
    return hashlib.sha256(settings.lake_root.encode()).hexdigest()[:16]


def labels_of(stage: str, settings: Settings) -> dict[str, str]:
    """What every pod of ours is found by."""
    return {"app": APP, STAGE_LABEL: stage, LAKE_LABEL: lake_label(settings)}


def annotations_of(context: Any) -> dict[str, str]:
    """The task try of a context, in full."""
    ti = context["ti"]
    values = (ti.dag_id, context["run_id"], ti.task_id, ti.map_index, ti.try_number)
    return {
        f"{_ANNOTATION}{name.replace('_', '-')}": str(-1 if value is None else value)
        for name, value in zip(WHO, values, strict=True)
    }


def who(pod: Any) -> dict[str, str]:
    """The task try of a pod: `dag_id`, `run_id`, `task_id`, `map_index`, `try_number`.

    A pod that lacks an annotation, as after somebody's copy of it, falls back on Airflow's labels.
    """
    said: Mapping[str, str] = pod.metadata.annotations or {}
    marks: Mapping[str, str] = pod.metadata.labels or {}
    return {
        name: said.get(f"{_ANNOTATION}{name.replace('_', '-')}")
        or marks.get(name, "-1" if name == "map_index" else "")
        for name in WHO
    }


def pod_name(stage: str, settings: Settings, context: Any) -> str:
    """The same for the same task try, another for every other one; at most 63 characters."""
    text = "\n".join([lake_label(settings), *annotations_of(context).values()])
    return f"nightshift-{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
