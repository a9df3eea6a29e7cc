"""What a strategy has learnt, kept in the lake: its shards learn it once, wherever they run.

    fits/<strategy>/<key[:2]>/<key>.safetensors

A fit is a function of its key (the strategy's version and settings, the snapshot, the seed), so a
second shard, a retry and another machine find it there. What learning it took is in the file's
metadata: who finds it counts it as who made it does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from nightshift.errors import LakeError
from nightshift.lake import Lake
from nightshift.lease import held

Tensors = dict[str, npt.NDArray[Any]]
PROMPT_TOKENS = "prompt_tokens"
"""A tensor of this name holds what a language model read for the others: one number."""
_SECONDS = "seconds"
_LENGTH = 8
"""A safetensors file begins with the length of its header, in so many bytes."""


@dataclass(frozen=True, slots=True)
class FitCost:
    """What learning took, by whoever learnt."""

    seconds: float = 0.0
    prompt_tokens: int = 0


class Learning:
    """What one strategy has learnt, or found learnt, in this process."""

    def __init__(self) -> None:
        self.costs: dict[str, FitCost] = {}
        """By the key of the fit."""
        self.waited = 0.0
        """Seconds in which this process learnt, or waited for who did; no work of its own."""
        self._learnt = 0.0
        self._depth = 0

    def fitted(
        self, lake: Lake, strategy: str, key: str, make: Callable[[], Tensors], wait_seconds: float
    ) -> Tensors:
        """As the function `fitted`; one fit may ask for another while it is made."""
        started = time.monotonic()
        self._depth += 1
        try:
            tensors, seconds = fitted(
                lake, strategy, key, lambda: self._make(make), wait_seconds=wait_seconds
            )
        finally:
            self._depth -= 1
            if not self._depth:
                self.waited += time.monotonic() - started
        read = int(tensors[PROMPT_TOKENS].sum()) if PROMPT_TOKENS in tensors else 0
        self.costs[key] = FitCost(seconds, read)
        return tensors

    def _make(self, make: Callable[[], Tensors]) -> tuple[Tensors, float]:
        """Its seconds are its own: what was learnt meanwhile has been counted."""
        before, started = self._learnt, time.monotonic()
        tensors = make()
        seconds = time.monotonic() - started - (self._learnt - before)
        self._learnt += seconds
        return tensors, round(seconds, 3)

    def as_json(self) -> dict[str, dict[str, Any]]:
        return {key: asdict(cost) for key, cost in self.costs.items()}


def fit_path(strategy: str, key: str) -> str:
    return f"fits/{strategy}/{key[:2]}/{key}.safetensors"


def fitted(
    lake: Lake,
    strategy: str,
    key: str,
    make: Callable[[], tuple[Tensors, float]],
    *,
    wait_seconds: float,
) -> tuple[Tensors, float]:
    """The tensors of a finished fit, and the seconds that learning took.

    Made now, by one shard of all, where there are none.

    Raises:
        LakeError: there is a file, but it cannot be read.
    """
    path = fit_path(strategy, key)
    found = _load(lake, path)
    if found is not None:
        return found
    with held(
        lake,
        f"fit-{strategy}-{key[:16]}",
        wait_seconds=wait_seconds,
        done=lambda: lake.read_bytes(path) is not None,
    ):
        found = _load(lake, path)  # whoever held it before may have made it
        if found is None:
            from safetensors.numpy import save

            found = make()
            lake.write_bytes(path, save(found[0], metadata={_SECONDS: str(found[1])}))
    return found


def _load(lake: Lake, path: str) -> tuple[Tensors, float] | None:
    data = lake.read_bytes(path)
    if data is None:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: Tensors = load(data)
        return tensors, _seconds_of(data)
    except (SafetensorError, ValueError) as error:
        raise LakeError(
            f"What a strategy has learnt cannot be read: {error}.",
            hint="delete the file and run the shard again: it is learnt anew",
            file=path,
        ) from error


def _seconds_of(data: bytes) -> float:
    """What the metadata says that learning took; 0 where an older version wrote none."""
    length = int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(data[_LENGTH : _LENGTH + length])
    return float(header.get("__metadata__", {}).get(_SECONDS, 0.0))
