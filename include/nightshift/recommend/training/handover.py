"""What crosses between a stage and the processes that train for it: files in one folder.

    task.json, task.safetensors        the stage writes them, every rank reads them
    result.json, result.safetensors    rank 0 writes them, the stage reads them
    error-RANK.json                    a rank that failed, and why

Arrays are safetensors, the rest is JSON; nothing is unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from nightshift import errors
from nightshift.errors import NightshiftError
from nightshift.histories import Histories
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.model.network import Recommender
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import SampleWindows, Windows
from nightshift.recommend.training.world import RankLost
from nightshift.settings import ModelSettings
from nightshift.writer import save_tensors

_MODEL, _DELTAS, _REAL, _EXTRA = "model.", "deltas.", "real.", "extra."
_HISTORIES = ("indptr", "items", "times", "kinds", "targets")
_WINDOWS = ("users", "first", "last", "learn_from")


@dataclass(frozen=True, slots=True)
class Task:
    """One training run, and what each of its processes may use."""

    model: Recommender
    deltas: IdDeltas
    features: Tensor  # [items, P]
    data: TrainingSet
    plan: Plan
    threads: int
    attributes: Tensor | None  # [items, A]


def write_task(folder: Path, task: Task) -> None:
    data = task.data
    tensors = _learnt(task.model, task.deltas) | {
        "features": task.features.numpy(),
        "negative_pool": data.negative_pool,
        **_flat(data.windows, _REAL),
    }
    if data.hard is not None:
        tensors["hard"] = data.hard
    if task.attributes is not None:
        tensors["attributes"] = task.attributes.numpy()
    if data.extra is not None:
        tensors |= {"weights": data.extra.weights, **_flat(data.extra.windows, _EXTRA)}
    save_tensors(folder / "task.safetensors", tensors)
    _write_json(
        folder / "task.json",
        {
            "model": task.model.settings.model_dump(mode="json"),
            "plan": asdict(task.plan),
            "threads": task.threads,
        },
    )


def read_task(folder: Path, *, gpu: int) -> Task:
    """The task as one rank sees it: on this GPU, where it is for GPUs."""
    body = json.loads((folder / "task.json").read_bytes())
    tensors = _read(folder / "task.safetensors")
    features = torch.from_numpy(tensors["features"])
    model = Recommender(ModelSettings(**body["model"]), features.shape[1])
    deltas = IdDeltas(torch.from_numpy(tensors[_DELTAS + "table"]))
    _take(tensors, model, deltas)
    extra = None
    if "weights" in tensors:
        extra = SampleWindows(_windows(tensors, _EXTRA), tensors["weights"])
    data = TrainingSet(
        _windows(tensors, _REAL), tensors["negative_pool"], tensors.get("hard"), extra
    )
    plan = Plan(**body["plan"])
    if plan.device == "cuda":
        plan = replace(plan, device=f"cuda:{gpu}")
    attributes = tensors.get("attributes")
    return Task(
        model,
        deltas,
        features,
        data,
        plan,
        body["threads"],
        None if attributes is None else torch.from_numpy(attributes),
    )


def write_result(folder: Path, task: Task, losses: list[float]) -> None:
    save_tensors(folder / "result.safetensors", _learnt(task.model, task.deltas))
    _write_json(folder / "result.json", losses)


def read_result(folder: Path, model: Recommender, deltas: IdDeltas) -> list[float]:
    """Put what was learnt into `model` and `deltas`; returns the losses."""
    _take(_read(folder / "result.safetensors"), model, deltas)
    losses: list[float] = json.loads((folder / "result.json").read_bytes())
    return losses


def write_error(folder: Path, rank: int, error: NightshiftError) -> None:
    (folder / f"error-{rank}.json").write_text(error.as_json())


def read_error(folder: Path) -> NightshiftError | None:
    """The cause of a failure; None when no rank lived to tell it."""
    for path in sorted(folder.glob("error-*.json")):
        body = json.loads(path.read_bytes())
        if body["error"] == RankLost.__name__:
            continue  # it waited for the one that failed
        kind = getattr(errors, body["error"], NightshiftError)
        found: NightshiftError = kind(body["message"], hint=body["hint"])
        return found
    return None


def _flat(windows: Windows, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Windows with the items they are of."""
    histories = windows.histories
    arrays: dict[str, npt.NDArray[Any]] = {
        name: value for name in _HISTORIES if (value := getattr(histories, name)) is not None
    }
    arrays |= {name: getattr(windows, name) for name in _WINDOWS}
    return {prefix + name: value for name, value in arrays.items()}


def _windows(tensors: dict[str, npt.NDArray[Any]], prefix: str) -> Windows:
    indptr, items, times = (tensors[prefix + name] for name in ("indptr", "items", "times"))
    kinds, targets = (tensors.get(prefix + name) for name in ("kinds", "targets"))
    histories = Histories(indptr, items, times, kinds=kinds, targets=targets)
    return Windows(histories, *(tensors[prefix + name] for name in _WINDOWS))


def _learnt(model: Recommender, deltas: IdDeltas) -> dict[str, npt.NDArray[Any]]:
    parts = {_MODEL + name: value for name, value in model.state_dict().items()}
    parts |= {_DELTAS + name: value for name, value in vars(deltas).items()}
    return {name: value.detach().cpu().numpy() for name, value in parts.items()}


def _take(tensors: dict[str, npt.NDArray[Any]], model: Recommender, deltas: IdDeltas) -> None:
    model.load_state_dict(
        {
            name.removeprefix(_MODEL): torch.from_numpy(value)
            for name, value in tensors.items()
            if name.startswith(_MODEL)
        }
    )
    for name, value in vars(deltas).items():
        value.copy_(torch.from_numpy(tensors[_DELTAS + name]))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    from safetensors.numpy import load_file

    tensors: dict[str, npt.NDArray[Any]] = load_file(path)
    return tensors


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, allow_nan=False))
