"""Threads and devices: set on purpose, once, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.settings import Settings

if TYPE_CHECKING:
    import torch


def use_threads(settings: Settings) -> None:
    """Bound torch's thread pools; a contended core makes more threads slower, not faster."""
    import torch

    torch.set_num_threads(settings.compute.threads)


def device(settings: Settings) -> torch.device:
    """The device that the settings name; `auto` takes a GPU when there is one."""
    import torch

    name: Any = settings.compute.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
