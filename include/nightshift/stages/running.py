"""Running one stage: resolve its inputs, compute its key, and work only if there is work."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import nightshift
from nightshift import logs
from nightshift.errors import (
    DatasetMissing,
    DiskFull,
    NightshiftError,
    StageFailed,
    UsageError,
)
from nightshift.lake import NO_SPACE, Lake
from nightshift.lease import held
from nightshift.manifest import Manifest, content_digest, digest_of
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages.inputs import arms
from nightshift.stages.model import Inputs, Ran, Stage, StageContext
from nightshift.stages.table import STAGES

log = logging.getLogger("nightshift.stage")

_CAUSE_CHARS = 500
"""A foreign error's text may hold a whole table; the log has all of it."""


def parts_of(name: str, lake: Lake, night: Night, settings: Settings) -> list[dict[str, str]]:
    """Every part of a stage that is cut into parts: the shards of tonight's plan, the arms."""
    if name == "generate":
        plan = lake.get("plan", STAGES["plan"].partition(night, {}))
        return [{"shard": shard} for shard in plan.stats["shards"]]
    if name == "finetune":
        return arms(lake.get("blend", STAGES["blend"].partition(night, {})), settings)
    return [{}]


def run(
    name: str,
    night: Night,
    settings: Settings,
    parts: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> Ran:
    """Run one stage of one night, unless its dataset for the same key is there.

    Args:
        parts: the further partition levels, such as `{"shard": "text_neighbours-000"}`.
        force: make the dataset anew although it exists.

    Raises:
        NightshiftError: with the stage and the night in its context.
    """
    parts = dict(parts or {})
    stage = _stage(name, parts)
    with logs.at(night=night.key, stage=name, **parts):
        return _run(stage, night, settings, parts, force=force)


def _run(
    stage: Stage, night: Night, settings: Settings, parts: dict[str, str], *, force: bool
) -> Ran:
    name, started = stage.name, time.monotonic()
    try:
        lake = Lake.of(settings)
        inputs = resolve_inputs(stage, lake, night, settings)
        key = key_of(stage, night, settings, inputs, parts)
        partition = stage.partition(night, parts)
        found = None if force else lake.at_key(stage.dataset, partition, key)
        if found is not None:
            lake.point(found)
            return Ran(name, found, False, time.monotonic() - started)
        with held(
            lake,
            f"{night.key}/{'-'.join([name, *parts.values()])}",
            wait_seconds=settings.night.wait_seconds,
            done=lambda: lake.at_key(stage.dataset, partition, key) is not None,
        ) as mine:
            found = None if force else lake.at_key(stage.dataset, partition, key)
            if not mine or found is not None:
                done = found or lake.get(stage.dataset, partition)
                lake.point(done)
                return Ran(name, done, False, time.monotonic() - started)
            manifest = write_dataset(stage, lake, night, settings, inputs, parts, key)
    except NightshiftError as error:
        raise error.at(stage=name, night=night.key, **parts) from error.__cause__
    except Exception as error:
        ours = as_ours(error)
        if isinstance(ours, StageFailed):
            log.error("%s %s failed", name, night.key, exc_info=error)
        raise ours.at(stage=name, night=night.key, **parts) from error
    return Ran(name, manifest, True, time.monotonic() - started)


def as_ours(error: Exception) -> NightshiftError:
    """What somebody else's error is to a stage."""
    if isinstance(error, NightshiftError):
        return error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DiskFull(
            "No space left on the disk.",
            hint="free space (`nightshift doctor` shows where) and run the stage again",
        )
    said = " ".join(str(error).split())[:_CAUSE_CHARS]
    return StageFailed(
        f"{type(error).__name__}: {said}",
        hint="the log above has where it happened; run the stage again once it is mended",
    )


def resolve_inputs(stage: Stage, lake: Lake, night: Night, settings: Settings) -> Inputs:
    """The manifests a stage reads.

    Raises:
        DatasetMissing: a stage before it has not run.
    """
    inputs: Inputs = {}
    for wanted in stage.inputs:
        owner = next(s for s in STAGES.values() if s.dataset == wanted.dataset)
        partition = owner.partition(night, {})
        manifest = lake.find(wanted.dataset, partition)
        if manifest is None and not wanted.optional:
            raise DatasetMissing(
                f"{stage.name} needs the dataset {wanted.dataset!r} of night {night.key}.",
                hint=f"run `nightshift {owner.name} --night {night.key}` first",
            )
        if manifest is not None:
            inputs[wanted.dataset] = manifest
    if stage.more is not None:
        inputs |= stage.more(lake, night, settings, inputs)
    return inputs


def key_of(
    stage: Stage, night: Night, settings: Settings, inputs: Inputs, parts: Mapping[str, str]
) -> str:
    """What the dataset is made from. The commit and the place are not part of it."""
    outside: Any = None
    if stage.fingerprint is not None:
        module, _, function = stage.fingerprint.partition(":")
        outside = getattr(importlib.import_module(module), function)(night, settings)
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "night": night.key,
            "parts": dict(parts),
            "settings": settings.digest_of(*stage.sections),
            "inputs": {name: manifest.digest for name, manifest in inputs.items()},
            "outside": outside,
        }
    )


def _stage(name: str, parts: Mapping[str, str]) -> Stage:
    if name not in STAGES:
        raise UsageError(f"There is no stage {name!r}.", hint=f"one of {', '.join(STAGES)}")
    stage = STAGES[name]
    if set(parts) != set(stage.parts):
        raise UsageError(
            f"{name} takes {', '.join(stage.parts) or 'no further parts'}.",
            hint=f"got {', '.join(parts) or 'none'}",
        )
    return stage


def write_dataset(
    stage: Stage,
    lake: Lake,
    night: Night,
    settings: Settings,
    inputs: Inputs,
    parts: dict[str, str],
    key: str,
) -> Manifest:
    """Let the stage's module write, then commit its manifest: from then on the dataset exists."""
    from nightshift.writer import DatasetWriter

    log.info("%s %s: working", stage.name, " ".join([night.key, *parts.values()]))
    started = time.monotonic()
    partition = stage.partition(night, parts)
    with lake.scratch_folder() as scratch:
        folder = f"{stage.dataset}/{partition}/{key[:16]}"
        writer = DatasetWriter(lake, folder, scratch)
        ctx = StageContext(night, settings, lake, dict(parts), inputs, writer)
        stats = importlib.import_module(stage.module).run(ctx)
        if not isinstance(stats, dict):
            raise StageFailed(f"{stage.module}.run returned no stats.")
        files = tuple(sorted(writer.entries.values(), key=lambda entry: entry.name))
        return lake.commit(
            Manifest(
                dataset=stage.dataset,
                partition=partition,
                key=key,
                digest=content_digest(key, files, stats, ctx.seeds),
                files=files,
                inputs={name: manifest.ref for name, manifest in inputs.items()},
                settings_digest=settings.digest_of(*stage.sections),
                code_version=f"{nightshift.__version__}/{stage.version}",
                stats=stats,
                seeds=ctx.seeds,
                run={
                    **ctx.run,
                    "seconds": round(time.monotonic() - started, 3),
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "commit": _commit(),
                    "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                },
            )
        )


@cache
def _commit() -> str | None:
    """The commit of a checkout; None for an installed package."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
