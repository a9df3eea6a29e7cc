"""What is no dataset: chunks, responses of language models, old leases, scratch, local copies.

A chunk, a response or a copy that is gone is made or fetched anew; it costs time, never a result.
"""

from __future__ import annotations

import math
import shutil
import stat
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from nightshift.housekeeping.accounts import Row
from nightshift.housekeeping.inventory import span_of
from nightshift.housekeeping.work import LEASES, SWEEP
from nightshift.lake import Lake, Stored

CHUNKS, RESPONSES = "chunks", "responses"
EMBEDDINGS, MODELS, REGISTRY = "embeddings", "models", "registry"


def sweep_cache(lake: Lake, row: Row, name: str, *, before: float, dry_run: bool) -> None:
    """Remove chunks or responses that were written before; one listing for each folder below.

    Chunks have 256 of them, responses one for each engine that was ever asked.
    """
    for prefix in lake.names(name):
        folder = f"{name}/{prefix}"
        _sweep(lake, row, lake.stored(folder), before=before, why="old", dry_run=dry_run)
        if not dry_run:
            lake.remove_empty_folders(folder)


def sweep_leases(
    lake: Lake, row: Row, *, before: float, since: datetime | None, dry_run: bool
) -> None:
    """Remove the leases of nights that are not kept in full any more, and of no one's work."""
    old: list[Stored] = []
    kept: list[Stored] = []
    for one in lake.stored(LEASES):
        if one.path.startswith(f"{LEASES}/{SWEEP}/"):
            continue
        span = span_of(f"night={one.path.split('/')[1]}")
        past = span is not None and since is not None and span.end <= since
        (old if past else kept).append(one)
    _sweep(lake, row, old, before=before, why="of past nights", dry_run=dry_run)
    for one in kept:
        row.keep(one.bytes)
    if not dry_run:
        for night in sorted({one.path.split("/")[1] for one in old}):
            lake.remove_empty_folders(f"{LEASES}/{night}")


def count(lake: Lake, row: Row, folder: str) -> None:
    """Count what is always kept."""
    for name in lake.names(folder):
        for one in lake.stored(f"{folder}/{name}"):
            row.keep(one.bytes)


def sweep_scratch(lake: Lake, row: Row, *, before: float, dry_run: bool) -> None:
    """Remove what killed runs left in the scratch space of this machine or of a local lake."""
    for entry in _entries(lake.scratch):
        if entry == lake.cache:
            continue
        size, newest = _size_and_time(entry)
        if newest >= before:
            row.keep(size)
            continue
        row.go(size, "left by a killed run")
        if not dry_run and entry.is_dir():
            shutil.rmtree(entry)
        elif not dry_run:
            entry.unlink(missing_ok=True)


def _size_and_time(entry: Path) -> tuple[int, float]:
    """Bytes of a file or folder, and when anything in it was changed last."""
    size, newest = 0, 0.0
    for path in (entry, *entry.rglob("*")):
        try:
            fact = path.lstat()
        except FileNotFoundError:
            return size, math.inf  # somebody works there
        newest = max(newest, fact.st_mtime)
        size += 0 if stat.S_ISDIR(fact.st_mode) else fact.st_size
    return size, newest


def sweep_copies(lake: Lake, row: Row, *, before: float, dry_run: bool) -> None:
    """Remove this machine's copies of a remote lake's files that nobody read lately."""
    for folder in _entries(lake.cache):
        for path in _entries(folder):
            fact = path.stat()
            if max(fact.st_mtime, fact.st_atime) >= before:
                row.keep(fact.st_size)
                continue
            row.go(fact.st_size, "old")
            if not dry_run:
                path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _sweep(
    lake: Lake, row: Row, objects: Iterable[Stored], *, before: float, why: str, dry_run: bool
) -> None:
    for one in objects:
        if one.modified >= before:
            row.keep(one.bytes)
            continue
        row.go(one.bytes, why)
        if not dry_run:
            lake.delete(one.path)
