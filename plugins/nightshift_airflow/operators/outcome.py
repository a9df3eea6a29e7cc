"""What a stage's end means: its result, or the error with its cause and its way out."""

from __future__ import annotations

import json
import signal
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightshift import errors
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.stages import STAGES
from nightshift_airflow.process import Ended
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.lines import read

WILL_NOT_HEAL = frozenset(
    kind.exit_code
    for kind in (
        errors.UsageError,
        errors.BadInput,
        errors.BatchStopped,
        errors.DatasetMissing,
        errors.GenerationFailed,
        errors.ModelLags,
        errors.ModelRejected,
        errors.ParentMissing,
    )
)
"""Exit codes after which a retry would say the same again."""

_MARK = "nightshift: "


def result_of_process(stage: str, run: Run, parts: dict[str, str], ended: Ended) -> dict[str, Any]:
    """The JSON of the command's last line, once the lake confirms it.

    Raises:
        AirflowFailException: failed in a way that no retry heals.
        AirflowException: failed, killed, or "succeeded" without a dataset.
    """
    raise_for(stage, ended)
    try:
        result: dict[str, Any] = json.loads(ended.stdout[-1])
    except (IndexError, ValueError):
        last = ended.stdout[-1] if ended.stdout else ""
        raise AirflowException(
            f"{stage} ended well but its last line is not JSON: {last[:200]!r}"
        ) from None
    confirmed(stage, run, parts, result["digest"])
    return result


def raise_for(name: str, ended: Ended) -> None:
    """Raise what a command's end means, unless it ended well.

    Raises:
        AirflowFailException: failed in a way that no retry heals.
        AirflowException: failed or killed.
    """
    if ended.status:
        kind = AirflowFailException if ended.status in WILL_NOT_HEAL else AirflowException
        raise kind(cause(name, ended))


def failure_of(error: errors.NightshiftError) -> AirflowException:
    """What a task raises for an error of the library: one that a retry may heal, or not."""
    kind = AirflowFailException if error.exit_code in WILL_NOT_HEAL else AirflowException
    return kind(str(error))


def confirmed(stage: str, run: Run, parts: dict[str, str], digest: str | None = None) -> Manifest:
    """The dataset that the stage made: success is the manifest, never a status.

    Raises:
        AirflowException: there is none, or the partition stands for another.
    """
    settings = run.settings()
    row = STAGES[stage]
    partition = row.partition(run.night, parts)
    manifest = Lake.of(settings).find(row.dataset, partition)
    if manifest is None or (digest is not None and manifest.digest != digest):
        raise AirflowException(
            f"{stage} ended well, but the lake at {settings.lake_root} has no such dataset "
            f"{row.dataset}/{partition}. Hint: do Airflow and the stage use the same lake?"
        )
    return manifest


def cause(stage: str, ended: Ended) -> str:
    """One line: what went wrong and the way out."""
    if ended.status < 0:
        name = signal.Signals(-ended.status).name
        hint = " Hint: often memory; see the kernel's log." if name == "SIGKILL" else ""
        return f"{stage} was killed by {name}.{hint}"
    lines = [read(line).text for line in ended.stderr]
    said = [line for line in lines if line.startswith(_MARK)]
    spoken = [line for line in lines if line.strip()]
    text = said[-1].removeprefix(_MARK) if said else (spoken[-1] if spoken else "no output")
    return f"{stage} failed (exit {ended.status}): {text}"
