"""Why a stage's pod failed: one line with cause and way out, from all that Kubernetes knows.

The stage's own last word comes first, then what the kubelet did to the pod, then what kept it from
starting. A pod object, its events and the trigger's message are all that is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift_airflow.operators.outcome import WILL_NOT_HEAL

_MARK = "nightshift: "
_TEXT_CHARS = 600
"""A foreign text in our line: what is cut is in the task's log."""
LESS_MEMORY = {
    "embed": "text.batch",
    "generate": "generate.engine.batch",
    "tune": "finetune.batch or finetune.negatives",
    "finetune": "finetune.batch or finetune.negatives",
    "refresh": "finetune.batch or finetune.negatives",
    "score": "score.block",
}
"""The setting that makes a stage smaller."""
_NO_GPU = re.compile(
    r"no cuda|cuda (driver|device)|no nvidia driver|compiled with cuda|cuda.{0,20}not available",
    re.IGNORECASE,
)
_GPU_FULL = re.compile(r"cuda.{0,20}out of memory", re.IGNORECASE)
_GOES_ON = "a retry goes on where this one stopped"


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong and the way out; `heals`: a retry may find it otherwise."""

    text: str
    hint: str = ""
    heals: bool = True

    def line(self, stage: str) -> str:
        """One line for the log and the exception."""
        hint = f" Hint: {self.hint}." if self.hint else ""
        said = " ".join(f"{stage}: {self.text}".split()).rstrip(".")
        return f"{said}.{hint}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a pod that ended, or did not get there.

    `pod` is None when it is gone. `warnings` are its warning events, oldest first; `told` is what
    the trigger said.
    """

    stage: str
    pod: Any | None
    warnings: Sequence[str] = ()
    told: str = ""
    on_gpu: bool = False

    @property
    def container(self) -> Any:
        """The spec of the stage's container."""
        assert self.pod is not None
        return self.pod.spec.containers[0]

    @property
    def state(self) -> Any | None:
        """The state of the stage's container, once it has one."""
        if self.pod is None:
            return None
        for status in self.pod.status.container_statuses or []:
            if status.name == self.container.name:
                return status.state
        return None

    @property
    def ended(self) -> Any | None:
        return self.state.terminated if self.state else None

    @property
    def has_run(self) -> bool:
        """Whether there may be a log."""
        return self.state is not None and self.state.waiting is None

    @property
    def word(self) -> dict[str, Any]:
        """What the stage left at its end: its result or its error; empty without one."""
        try:
            word = json.loads(self.ended.message if self.ended else "")
        except (TypeError, ValueError):
            return {}
        return word if isinstance(word, dict) else {}


def cause_of(seen: Seen) -> Cause:
    """The first cause that fits."""
    if seen.pod is None:
        return Cause("its pod is gone: somebody deleted it, or its node was lost", _GOES_ON)
    for look in _LOOKS:
        if (found := look(seen)) is not None:
            return found
    if seen.ended is not None and seen.ended.exit_code == 0:
        return Cause("its pod ended well, without a result", "see the task's log")
    last = seen.warnings[-1] if seen.warnings else seen.told
    phase = (seen.pod.status.phase or "unknown").lower()
    return Cause(f"its pod is {phase} and did not end: {_cut(last) or 'nothing more is known'}")


def _own_error(seen: Seen) -> Cause | None:
    word = seen.word
    if "exit_code" not in word:
        return None
    known = {"error", "message", "hint", "exit_code"}
    place = ", ".join(f"{name} {value}" for name, value in word.items() if name not in known)
    text = f"{word.get('message', '')} [{place}]" if place else str(word.get("message", ""))
    code = int(word["exit_code"])
    hint = _gpu_hint(seen, text) or str(word.get("hint", "")).rstrip(".")
    return Cause(f"failed (exit {code}): {text}", hint, heals=code not in WILL_NOT_HEAL)


def _evicted(seen: Seen) -> Cause | None:
    assert seen.pod is not None
    status = seen.pod.status
    disrupted = _condition(seen, "DisruptionTarget", "True")
    if status.reason != "Evicted" and disrupted is None:
        return None
    said = status.message or (disrupted.message if disrupted else "") or "no reason given"
    space = "storage" in said or "disk" in said
    setting = "SCRATCH_SIZE" if space else _memory_setting(seen)
    return Cause(
        f"its pod was evicted: {_cut(said)}",
        f"{_GOES_ON}; if it happens again, raise NIGHTSHIFT_AIRFLOW__{setting}",
    )


def _deadline(seen: Seen) -> Cause | None:
    assert seen.pod is not None
    late = seen.pod.status.reason == "DeadlineExceeded"
    if not late and "execution_timeout" not in seen.told:
        return None
    if not late and _not_started(seen) is not None:
        return None  # what kept it from starting says more
    seconds = seen.pod.spec.active_deadline_seconds
    limit = f" of {seconds} s" if seconds else ""
    return Cause(
        f"it ran into its time limit{limit} and was stopped",
        f"{_GOES_ON}; give the task more time, or the night less to do (generate.budget)",
    )


def _out_of_memory(seen: Seen) -> Cause | None:
    ended = seen.ended
    if ended is None or ended.reason != "OOMKilled":
        return None
    resources = seen.container.resources
    limit = (resources.limits or {}).get("memory") if resources else None
    held = f"its limit is {limit}" if limit else "it has no limit, so the node ran out"
    less = f", or lower {LESS_MEMORY[seen.stage]}" if seen.stage in LESS_MEMORY else ""
    return Cause(
        f"out of memory: {held}", f"raise NIGHTSHIFT_AIRFLOW__{_memory_setting(seen)}{less}"
    )


def _lost_node(seen: Seen) -> Cause | None:
    assert seen.pod is not None
    status = seen.pod.status
    silent = _condition(seen, "Ready", "False", "NodeStatusUnknown")
    if status.reason != "NodeLost" and status.phase != "Unknown" and silent is None:
        return None
    said = status.message or (silent.message if silent else "") or "it does not report any more"
    return Cause(f"the node of its pod was lost: {_cut(said)}", _GOES_ON)


def _not_started(seen: Seen) -> Cause | None:
    """What a pod waits for that has no container running yet."""
    waits = seen.state.waiting if seen.state else None
    if waits is not None and waits.reason:
        said = _cut(waits.message or "")
        if "Image" in waits.reason:
            return Cause(
                f"the image {seen.container.image} cannot be pulled ({waits.reason}): {said}",
                "correct NIGHTSHIFT_AIRFLOW__IMAGE, or name the registry's secret in "
                "NIGHTSHIFT_AIRFLOW__IMAGE_PULL_SECRETS",
                heals=waits.reason != "InvalidImageName",
            )
        if waits.reason.startswith("CreateContainer"):
            hint = "create it in the pods' namespace, or correct the pod template"
            if "secret" in said:
                hint = (
                    "kubectl create secret generic … in the pods' namespace, "
                    "or correct NIGHTSHIFT_AIRFLOW__SECRET"
                )
            return Cause(f"its container cannot be made ({waits.reason}): {said}", hint)
    placed = _condition(seen, "PodScheduled", "False")
    if placed is None:
        return None
    said = _cut(placed.message or placed.reason or "")
    if re.search(r"Insufficient \S+/\S*gpu", said):
        hint = (
            "no node has that many free: lower NIGHTSHIFT_AIRFLOW__GPUS, give the pool of the "
            "GPU tasks as many slots as there are GPUs, or add a node"
        )
    elif "nsufficient" in said:
        hint = f"ask for less in NIGHTSHIFT_AIRFLOW__{_memory_setting(seen)} or POD_CPU"
    else:
        hint = "compare NODE_SELECTOR, TOLERATIONS and claims with the cluster's nodes"
    return Cause(f"no node takes its pod: {said}", hint)


def _exit(seen: Seen) -> Cause | None:
    """A container that ended without a word of ours."""
    ended = seen.ended
    if ended is None or ended.exit_code == 0:
        return None
    code, said = ended.exit_code, ended.message or ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ours = [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]
    last = ours[-1] if ours else (lines[-1] if lines else "")
    if code in (137, 143) and not ours:
        how = "killed" if code == 137 else "stopped"
        return Cause(f"it was {how} from outside (exit {code})", f"see the node's log; {_GOES_ON}")
    return Cause(
        f"failed (exit {code}): {_cut(last) or ended.reason or 'no output'}",
        _gpu_hint(seen, said),
        heals=not ours or code not in WILL_NOT_HEAL,
    )


_LOOKS: tuple[Callable[[Seen], Cause | None], ...] = (
    _own_error,
    _out_of_memory,
    _evicted,
    _deadline,
    _lost_node,
    _exit,
    _not_started,
)


def _gpu_hint(seen: Seen, text: str) -> str:
    if _GPU_FULL.search(text):
        less = LESS_MEMORY.get(seen.stage, "the batch")
        return f"the GPU's memory is full: lower {less}, or choose nodes with larger GPUs"
    if _NO_GPU.search(text):
        return (
            "the pod sees no GPU: set NIGHTSHIFT_AIRFLOW__GPUS, check the nodes' driver, "
            "or set compute.device to cpu"
        )
    return ""


def _memory_setting(seen: Seen) -> str:
    return "GPU_POD_MEMORY" if seen.on_gpu else "POD_MEMORY"


def _condition(seen: Seen, kind: str, status: str, reason: str | None = None) -> Any | None:
    assert seen.pod is not None
    for one in seen.pod.status.conditions or []:
        if one.type == kind and one.status == status and reason in (None, one.reason):
            return one
    return None


def _cut(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _TEXT_CHARS else text[:_TEXT_CHARS] + " …"
