"""What is no dataset: chunks, fits, answers, conversions, old leases, scratch, local copies.

What is gone is made or fetched anew; it costs time, and an answer of a paid model money, never a
result.
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

CHUNKS, FITS, RESPONSES, MODELS = "chunks", "fits", "responses", "models"
EMBEDDINGS, REGISTRY = "embeddings", "registry"
_MODEL_LEVELS = 3
"""`models/NAME/FORM/…`: a conversion is a folder at this depth."""
_INDEX = "index.json"
"""Stands for a whole conversion: the first of its files to go."""


def sweep_old(lake: Lake, row: Row, folder: str, *, before: float, dry_run: bool) -> None:
    """Remove objects that were written before; one listing for each folder below `folder`."""
    for name in lake.names(folder):
        below = f"{folder}/{name}"
        _sweep(lake, row, lake.stored(below), before=before, why="old", dry_run=dry_run)
        if not dry_run:
            lake.remove_empty_folders(below)


def sweep_models(lake: Lake, row: Row, *, before: float, dry_run: bool) -> None:
    """Remove converted models, each with all of its files or not at all."""
    for name in lake.names(MODELS):
        forms: dict[str, list[Stored]] = {}
        for one in lake.stored(f"{MODELS}/{name}"):
            form = "/".join(one.path.split("/")[:_MODEL_LEVELS])
            forms.setdefault(form, []).append(one)
        for files in forms.values():
            newest = max(one.modified for one in files)
            limit = math.inf if newest < before else -math.inf
            ordered = sorted(files, key=lambda one: (not one.path.endswith(f"/{_INDEX}"), one.path))
            _sweep(lake, row, ordered, before=limit, why="old", dry_run=dry_run)
        if not dry_run:
            lake.remove_empty_folders(f"{MODELS}/{name}")


def sweep_leases(
    lake: Lake, row: Row, *, before: float, since: datetime | None, dry_run: bool
) -> None:
    """Remove the leases that nobody holds and nobody will ask for: a held one is never old.

    Those of nights that are not kept in full any more, and those of no night, such as of a fit,
    which is found in the lake from then on.
    """
    old: dict[str, list[Stored]] = {"of past nights": [], "of work that is done": []}
    kept: list[Stored] = []
    for one in lake.stored(LEASES):
        if one.path.startswith(f"{LEASES}/{SWEEP}/"):
            continue
        span = span_of(f"night={one.path.split('/')[1]}")
        if span is None:
            old["of work that is done"].append(one)
        elif since is not None and span.end <= since:
            old["of past nights"].append(one)
        else:
            kept.append(one)
    for why, leases in old.items():
        _sweep(lake, row, leases, before=before, why=why, dry_run=dry_run)
    for one in kept:
        row.keep(one.bytes)
    if not dry_run:
        for name in sorted({one.path.split("/")[1] for leases in old.values() for one in leases}):
            lake.remove_empty_folders(f"{LEASES}/{name}")


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
