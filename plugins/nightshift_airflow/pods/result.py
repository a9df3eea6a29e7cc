"""What a stage's pod came to: the dataset that it left in the lake, or the cause that it left none.

A pod that "succeeded" without a dataset has failed; one that was lost after it had written its
dataset has succeeded.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.stages import STAGES
from nightshift_airflow.operators.outcome import confirmed
from nightshift_airflow.pods.causes import Cause, Seen
from nightshift_airflow.resolver import Run

_WHOLE_SECOND = timedelta(seconds=1)
"""Manifests tell their time in whole seconds."""

log = logging.getLogger(__name__)


def result_of_pod(
    stage: str,
    run: Run,
    parts: dict[str, str],
    seen: Seen,
    cause: Cause | None,
    started: datetime,
) -> dict[str, Any]:
    """The stage's result, in the shape of the command's last line.

    Args:
        cause: what went wrong with the pod; None: it ended well, as far as Airflow could see.
        started: when this try of the task began. When the pod could not say what it made, a
            manifest that is younger is its work; an older one proves nothing.

    Raises:
        AirflowFailException: failed in a way that no retry heals.
        AirflowException: failed, lost, or "succeeded" without a dataset.
    """
    word = seen.word
    if "digest" in word:
        confirmed(stage, run, parts, word["digest"])
        if cause is not None:
            log.warning("the dataset is there all the same. %s", cause.line(stage))
        return word
    if "exit_code" not in word:
        manifest = _younger(stage, run, parts, started)
        if manifest is not None:
            if cause is not None:
                log.warning("the dataset is there all the same. %s", cause.line(stage))
            return summary(stage, manifest, Lake.of(run.settings()).uri(manifest.folder))
    if cause is None:
        root = run.settings().lake_root
        cause = Cause(
            f"its pod ended well, but the lake at {root} has no new dataset of it",
            "do Airflow and the pods use the same lake",
        )
    kind = AirflowException if cause.heals else AirflowFailException
    raise kind(cause.line(stage))


def _younger(stage: str, run: Run, parts: dict[str, str], started: datetime) -> Manifest | None:
    row = STAGES[stage]
    manifest = Lake.of(run.settings()).find(row.dataset, row.partition(run.night, parts))
    if manifest is None or "created_at" not in manifest.run:
        return None
    made = datetime.fromisoformat(manifest.run["created_at"])
    return manifest if made + _WHOLE_SECOND > started else None


def summary(stage: str, manifest: Manifest, uri: str) -> dict[str, Any]:
    """What the command would have printed, from the manifest."""
    return {
        "stage": stage,
        "worked": True,
        "seconds": float(manifest.run.get("seconds", 0.0)),
        "dataset": manifest.dataset,
        "partition": manifest.partition,
        "uri": uri,
        "digest": manifest.digest,
        "rows": manifest.rows,
    }
