"""Threads, devices and the same bits twice: set on purpose, from the settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nightshift.settings import Settings

if TYPE_CHECKING:
    import torch


def set_up_torch(settings: Settings) -> None:
    """Bound torch's threads, and let the same work give the same bits.

    A contended core makes more threads slower, not faster. With two threads and torch's defaults,
    gradients of gathered rows are summed in the order of chance, and arms that should share a
    model to the bit drift apart within a few steps.
    """
    import torch

    torch.set_num_threads(settings.compute.threads)
    # Read by cuBLAS when it starts; without it, its results depend on the stream.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some kernels of a GPU have no such variant: there it warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def device(settings: Settings) -> torch.device:
    """The device that the settings name; `auto` takes a GPU when there is one."""
    import torch

    name: Any = settings.compute.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
