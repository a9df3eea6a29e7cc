"""Threads, devices and the same bits twice: set on purpose, from the settings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import SettingsError, StageFailed
from nightshift.settings import Settings

if TYPE_CHECKING:
    import torch


def set_up_torch(settings: Settings) -> None:
    """Bound torch's threads to the settings', and let the same work give the same bits."""
    bind_torch(settings.compute.threads)


def bind_torch(threads: int) -> None:
    """`set_up_torch` for a process that has a share of the threads.

    A contended core makes more threads slower, not faster. With two threads and torch's defaults,
    gradients of gathered rows are summed in the order of chance, and arms that should share a
    model to the bit drift apart within a few steps.
    """
    import torch

    torch.set_num_threads(threads)
    # Read by cuBLAS when it starts; without it, its results depend on the stream.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some kernels of a GPU have no such variant: there it warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Fresh memory is written before it is read: filling it first would cost a pass of its own.
    torch.utils.deterministic.fill_uninitialized_memory = False


def device(settings: Settings) -> torch.device:
    """The device that the settings name; `auto` takes a GPU when there is one."""
    import torch

    name: Any = settings.compute.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


_WIDE = 256
"""Dims from which bfloat16 and a second thread pay on a CPU. Products of bfloat16 are set up anew
for every shape, and every step has shapes of its own: at 64 dims that costs more than it saves
(20,800 examples a second in single precision, 12,000 in bfloat16), at 256 it saves a fifth with
every item competing."""


def precision(wanted: str, on: torch.device, dim: int = _WIDE) -> str:
    """The precision of products of vectors this wide.

    `auto` is bfloat16 where the device multiplies it in hardware and that is faster.
    """
    import torch

    if wanted != "auto":
        return wanted
    if on.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # torch says so to itself alone; a version that does not is taken for a CPU without.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return "bfloat16" if dim >= _WIDE and has_amx() else "float32"


@contextmanager
def training_threads(dim: int, on: torch.device) -> Iterator[None]:
    """One thread where a step's products are small: handing them out costs more than it saves.

    At 64 dims one thread trains 26,000 examples a second, two that sleep while they wait 14,000,
    and two that spin 30,000 on a quiet machine and 8,000 beside another program.
    """
    import torch

    before = torch.get_num_threads()
    if on.type == "cpu" and dim < _WIDE:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_gpu(settings: Settings) -> bool:
    """Whether `device` would be a GPU, told without torch: for estimates, not for work."""
    name = settings.compute.device
    if name == "auto":
        return Path("/proc/driver/nvidia/version").exists()
    return name.startswith("cuda")


def processes(settings: Settings) -> int:
    """How many processes train one model: `auto` is one per visible GPU, and one without any.

    Raises:
        SettingsError: more processes than GPUs, or a device that is not shared among processes.
    """
    import torch

    wanted = settings.compute.processes
    if wanted == 1:
        return 1
    on = device(settings)
    if on.type == "cuda":
        # A device with a number is that one GPU.
        gpus = torch.cuda.device_count() if on.index is None else 1
        if wanted != "auto" and wanted > gpus:
            raise SettingsError(
                f"compute.processes is {wanted}, and compute.device {settings.compute.device} "
                f"has {gpus} GPU{'s' if gpus != 1 else ''} here.",
                hint=f"set it to auto or {max(gpus, 1)}, or give the machine or pod more GPUs",
            )
        return max(gpus, 1) if wanted == "auto" else wanted
    if wanted == "auto":
        return 1
    if on.type != "cpu":
        raise SettingsError(
            f"compute.processes is {wanted}, and processes do not share {on}.",
            hint="set compute.processes to 1, or compute.device to cuda or cpu",
        )
    return wanted


def give_back_freed() -> None:
    """Hand memory that was freed back to the system, where the C library keeps it.

    A language model's buffers grow token by token in a thread of its library's own; what glibc
    keeps of them in that thread's arena no other thread can use. 300 queries a night kept 5 GB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def out_of_memory() -> Iterator[None]:
    """Say what to lower when training does not fit into the GPU.

    Raises:
        StageFailed: in place of torch's error.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StageFailed(
            f"The GPU is out of memory: {str(error).partition('. ')[0]}.",
            hint="lower finetune.batch or finetune.negatives, raise compute.processes where there "
            "are more GPUs, or take a larger GPU",
        ) from error
