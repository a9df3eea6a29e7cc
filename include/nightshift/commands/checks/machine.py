"""The machine: cores and threads, memory, disk, the GPU, the interpreter."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from nightshift.commands.checks import FAIL, OK, WARN, Finding
from nightshift.lake import Lake
from nightshift.settings import Settings

OLDEST_PYTHON = (3, 11)
DISK_FAIL, DISK_WARN = 500e6, 5e9  # a night of a small shop writes some 100 MB; models 500 MB
MEMORY_WARN = 2e9  # one training process with a small catalogue, and Postgres


def interpreter() -> Iterator[Finding]:
    found = sys.version_info[:2]
    yield Finding(
        OK if found >= OLDEST_PYTHON else FAIL,
        "python",
        f"{platform.python_version()} at {sys.executable}",
        "" if found >= OLDEST_PYTHON else "Python 3.11 or newer is needed",
    )


def compute(settings: Settings) -> Iterator[Finding]:
    """Threads asked for against cores that this process may use; the device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = settings.compute.threads
    too_many = cores is not None and threads > cores
    yield Finding(
        WARN if too_many else OK,
        "threads",
        f"{threads} of {cores} cores",
        f"set compute.threads to {cores}: more threads than cores are slower" if too_many else "",
    )
    device = settings.compute.device
    gpu = shutil.which("nvidia-smi") is not None
    if device.startswith("cuda") and not gpu:
        hint = "set compute.device to auto or cpu, or install the GPU's driver"
        yield Finding(FAIL, "device", f"{device}, and there is no GPU", hint)
    else:
        yield Finding(OK, "device", f"{device} ({'a GPU is there' if gpu else 'no GPU: CPU'})")


def memory() -> Iterator[Finding]:
    """Memory that is available now, where the system says it."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    free = 1024.0 * int(lines["MemAvailable"].split()[0])
    low = free < MEMORY_WARN
    yield Finding(
        WARN if low else OK,
        "memory",
        f"{free / 1e9:.1f} GB available",
        "a night may be killed for memory: stop other programs" if low else "",
    )


def disk(settings: Settings, lake: Lake | None) -> Iterator[Finding]:
    """Free space where the home, the scratch and a local lake lie; one line a file system."""
    places = {"home": settings.home_path}
    if lake is not None:
        places["scratch"] = lake.scratch
        if lake.is_local:
            places["lake"] = lake.scratch.parent
    seen: dict[int, list[str]] = {}
    free: dict[int, tuple[Path, int]] = {}
    for name, path in places.items():
        there = next(p for p in (path, *path.parents) if p.exists())
        device = there.stat().st_dev
        seen.setdefault(device, []).append(name)
        free.setdefault(device, (there, shutil.disk_usage(there).free))
    for device, names in seen.items():
        path, octets = free[device]
        status = FAIL if octets < DISK_FAIL else WARN if octets < DISK_WARN else OK
        yield Finding(
            status,
            f"disk ({', '.join(names)})",
            f"{octets / 1e9:.1f} GB free at {path}",
            "" if status == OK else "free space, or move home or lake.root to a larger disk",
        )
