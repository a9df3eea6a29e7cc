"""What a strategy has learnt, kept in the lake: its shards learn it once, wherever they run.

    fits/<strategy>/<key[:2]>/<key>.safetensors

A fit is a function of its key (the strategy's version and settings, the snapshot, the seed), so a
second shard, a retry and another machine find it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from nightshift.errors import LakeError
from nightshift.lake import Lake
from nightshift.lease import held

Tensors = dict[str, npt.NDArray[Any]]


def fit_path(strategy: str, key: str) -> str:
    return f"fits/{strategy}/{key[:2]}/{key}.safetensors"


def fitted(
    lake: Lake, strategy: str, key: str, make: Callable[[], Tensors], *, wait_seconds: float
) -> Tensors:
    """The tensors of a finished fit; made now, by one shard of all, where there are none.

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
            lake.write_bytes(path, save(found))
    return found


def _load(lake: Lake, path: str) -> Tensors | None:
    data = lake.read_bytes(path)
    if data is None:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: Tensors = load(data)
        return tensors
    except (SafetensorError, ValueError) as error:
        raise LakeError(
            f"What a strategy has learnt cannot be read: {error}.",
            hint="delete the file and run the shard again: it is learnt anew",
            file=path,
        ) from error
