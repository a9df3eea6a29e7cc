"""The table of stages, and how one is run.

A stage is a function of (night, settings, inputs in the lake). `run` resolves its inputs, computes
its key, and returns at once when the dataset for that key exists; otherwise it takes the lease,
imports the stage's module and lets it write. The table is all that a stage knows of another: the
name of the dataset it reads.

    collect → embed → plan → generate (per shard) → gather → inspect ┐
                 └──────→ tune ──────────────────────────────────────┴→ blend → finetune (per arm)
    morning → evaluate → promote → refresh → score → report
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import nightshift
from nightshift.errors import (
    DatasetMissing,
    DiskFull,
    NightshiftError,
    ParentMissing,
    StageFailed,
    UsageError,
)
from nightshift.lake import _FULL, Lake
from nightshift.lease import held
from nightshift.manifest import Manifest, content_digest, digest_of
from nightshift.night import Night, stamp
from nightshift.settings import Settings

log = logging.getLogger("nightshift.stage")

_CAUSE_CHARS = 500
"""A foreign error's text may hold a whole table; the log has all of it."""

CONTROL, CHALLENGER = "control", "challenger"
REAL, BLEND = "real", "blend"
LINE_OF_ARM = {CONTROL: REAL, CHALLENGER: BLEND}


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage's `run(ctx)` gets; it returns the stats for the manifest."""

    night: Night
    settings: Settings
    lake: Lake
    parts: dict[str, str]
    inputs: dict[str, Manifest]
    writer: Any  # nightshift.writer.DatasetWriter; imported late, it pulls in pyarrow
    seeds: dict[str, int] = field(default_factory=dict)
    """Seeds the stage used; it adds them here."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A stage's outcome. `worked` is False when the dataset was there already."""

    stage: str
    manifest: Manifest
    worked: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Input:
    """A dataset that a stage reads, by default of the same night."""

    dataset: str
    optional: bool = False


Inputs = dict[str, Manifest]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table."""

    name: str
    dataset: str
    module: str
    """Imported only when there is work to do; holds `run(ctx) -> stats`."""
    title: str
    sections: tuple[str, ...] = ()
    """Settings that belong to the key."""
    inputs: tuple[Input, ...] = ()
    more: Callable[[Lake, Night, Settings, Inputs], Inputs] | None = None
    """Inputs that depend on the others: shards, arms, the parent state."""
    parts: tuple[str, ...] = ()
    """Further levels of the partition: a shard's name, an arm and its seed."""
    fingerprint: str | None = None
    """`module:function(night, settings) -> dict`, for what lies outside the lake."""
    version: str = "1"

    def partition(self, night: Night, parts: Mapping[str, str]) -> str:
        if self.dataset == "state":
            return state_partition(night.end)
        return "/".join([f"night={night.key}", *(f"{n}={parts[n]}" for n in self.parts)])


def state_partition(as_of: datetime) -> str:
    """States are filed by the time up to which they know everything."""
    return f"as_of={stamp(as_of)}"


# --- inputs that depend on others -------------------------------------------------------------


def parent_state(lake: Lake, night: Night, settings: Settings) -> Manifest | None:
    """The state that ends where this night starts; None on the first night.

    Raises:
        ParentMissing: there is none, this is not the first night, and gaps are not to be learnt.
    """
    if settings.night.first is not None and _utc(settings.night.first) == night.start:
        return None
    parent = lake.find("state", state_partition(night.start))
    if parent is not None:
        return parent
    if settings.night.on_gap == "learn":
        limit = state_partition(night.start)
        earlier = [p for p in lake.partitions("state") if p < limit]
        if earlier:
            return lake.get("state", earlier[-1])
    raise ParentMissing(
        f"No model state ends at {night.start:%Y-%m-%d %H:%M} UTC, where this night starts.",
        hint="run the night before it, name this one as the first (--first), "
        "or set night.on_gap=learn",
        night=night.key,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parent(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    parent = parent_state(lake, night, settings)
    return {} if parent is None else {"parent": parent}


def _shards(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The shards of tonight's plan that exist; a missing one failed."""
    names = inputs["plan"].stats["shards"]
    found = {
        name: lake.find("shard", STAGES["generate"].partition(night, {"shard": name}))
        for name in names
    }
    plan = inputs["plan"].digest
    return {
        f"shard:{n}": m
        for n, m in found.items()
        if m is not None and m.inputs["plan"].digest == plan
    }


def _parent_and_blend(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The parent state, and the blend it was made from: its samples may not have expired yet."""
    found = _parent(lake, night, settings, inputs)
    if "parent" in found:
        found["previous"] = lake.get_ref(found["parent"].inputs["blend"])
    return found


def arms(blend: Manifest, settings: Settings) -> list[dict[str, str]]:
    """The parts of every `finetune` of a night: each arm of the blend with each seed."""
    return [
        {"arm": arm, "seed": str(seed)}
        for arm in blend.stats["arms"]
        for seed in settings.finetune.seeds
    ]


def arm_input(arm: str, seed: str | int) -> str:
    """The name under which an arm's model is an input."""
    return f"arm:{arm}:{seed}"


def _arms(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    stage = STAGES["finetune"]
    return {
        arm_input(**parts): lake.get(stage.dataset, stage.partition(night, parts))
        for parts in arms(inputs["blend"], settings)
    }


def _evaluate_inputs(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    found = _parent(lake, night, settings, inputs) | _arms(lake, night, settings, inputs)
    if "parent" in found:
        found["previous"] = lake.get_ref(found["parent"].inputs["evaluation"])
    return found


def _refresh_inputs(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The first seed of each line's arm is the one whose state lives on."""
    stage, seed = STAGES["finetune"], str(settings.finetune.seeds[0])
    return {
        arm_input(arm, seed): lake.get(
            stage.dataset, stage.partition(night, {"arm": arm, "seed": seed})
        )
        for arm in LINE_OF_ARM
    }


def _state(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    return {"state": lake.get("state", state_partition(night.end))}


def _report_inputs(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    return _arms(lake, night, settings, inputs) | _state(lake, night, settings, inputs)


# --- the table --------------------------------------------------------------------------------

_SNAPSHOT, _VECTORS, _MORNING = Input("snapshot"), Input("vectors"), Input("morning")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="collect",
            dataset="snapshot",
            module="nightshift.collect.stage",
            title="copy what the event store held before the night, clean it, profile it",
            sections=("collect", "shop"),
            fingerprint="nightshift.collect.fingerprint:before",
        ),
        Stage(
            name="embed",
            dataset="vectors",
            module="nightshift.text.stage",
            title="sentence embeddings of the catalogue",
            sections=("text",),
            fingerprint="nightshift.text.encoder:fingerprint",
            inputs=(_SNAPSHOT,),
        ),
        Stage(
            name="plan",
            dataset="plan",
            module="nightshift.generate.plan",
            title="which items, users and queries are short of samples, and the budget",
            sections=("generate",),
            inputs=(_SNAPSHOT, _VECTORS),
            fingerprint="nightshift.generate.fingerprint:models",
        ),
        Stage(
            name="generate",
            dataset="shard",
            module="nightshift.generate.shard",
            title="write the samples of one shard",
            sections=("generate",),
            inputs=(_SNAPSHOT, _VECTORS, Input("plan")),
            parts=("shard",),
        ),
        Stage(
            name="gather",
            dataset="samples",
            module="nightshift.generate.gather",
            title="put the shards together, apply the failure budget",
            sections=("generate.failure_budget",),
            inputs=(Input("plan"),),
            more=_shards,
        ),
        Stage(
            name="inspect",
            dataset="inspection",
            module="nightshift.inspection.stage",
            title="check every sample: accepted, quarantined, or the batch stopped",
            sections=("inspection",),
            inputs=(_SNAPSHOT, _VECTORS, Input("samples")),
        ),
        Stage(
            name="tune",
            dataset="recipe",
            module="nightshift.recommend.tune",
            title="choose the recipe on an inner split of what lies before the night",
            sections=("tune", "finetune", "generate", "inspection", "collect", "text"),
            inputs=(_SNAPSHOT,),
            more=_parent,
        ),
        Stage(
            name="blend",
            dataset="blend",
            module="nightshift.blend.stage",
            title="real rows and accepted samples: one training set per arm",
            sections=("blend", "generate.tail_events"),
            fingerprint="nightshift.registry.retract:fingerprint",
            inputs=(_SNAPSHOT, Input("inspection"), Input("recipe")),
            more=_parent_and_blend,
        ),
        Stage(
            name="finetune",
            dataset="arm",
            module="nightshift.recommend.finetune",
            title="train one arm from its line's state",
            sections=("finetune", "compute.threads"),
            inputs=(_SNAPSHOT, _VECTORS, Input("blend"), Input("recipe")),
            more=_parent,
            parts=("arm", "seed"),
        ),
        Stage(
            name="morning",
            dataset="morning",
            module="nightshift.collect.morning",
            title="copy the events of the night itself: unseen by everything that learnt",
            sections=("collect", "shop"),
            inputs=(_SNAPSHOT,),
            fingerprint="nightshift.collect.fingerprint:inside",
        ),
        Stage(
            name="evaluate",
            dataset="evaluation",
            module="nightshift.evaluate.stage",
            title="compare the arms on the morning after: paired, per slice, with intervals",
            sections=("evaluate", "generate.tail_events", "finetune.seeds"),
            inputs=(_SNAPSHOT, _VECTORS, _MORNING, Input("recipe"), Input("blend")),
            more=_evaluate_inputs,
        ),
        Stage(
            name="promote",
            dataset="verdict",
            module="nightshift.registry.promote",
            title="write the verdict: which line is live, and why",
            sections=("evaluate",),
            inputs=(Input("evaluation"), Input("recipe")),
            more=_parent,
        ),
        Stage(
            name="refresh",
            dataset="state",
            module="nightshift.recommend.refresh",
            title="take the night's own events into both lines",
            sections=("finetune", "compute.threads"),
            inputs=(
                _SNAPSHOT,
                _VECTORS,
                _MORNING,
                Input("recipe"),
                Input("blend"),
                Input("evaluation"),
                Input("verdict"),
            ),
            more=_refresh_inputs,
        ),
        Stage(
            name="score",
            dataset="recommendations",
            module="nightshift.recommend.score",
            title="make the champion live: the alias, and recommendations in Postgres",
            sections=("score",),
            inputs=(_SNAPSHOT, _VECTORS, _MORNING, Input("recipe"), Input("verdict")),
            more=_state,
        ),
        Stage(
            name="report",
            dataset="report",
            module="nightshift.report.stage",
            title="report.json and index.html",
            inputs=(
                _SNAPSHOT,
                Input("plan"),
                Input("samples"),
                Input("inspection"),
                Input("recipe"),
                Input("blend"),
                _MORNING,
                Input("evaluation"),
                Input("verdict"),
                Input("recommendations"),
            ),
            more=_report_inputs,
        ),
    )
}


def parts_of(name: str, lake: Lake, night: Night, settings: Settings) -> list[dict[str, str]]:
    """Every part of a stage that is cut into parts: the shards of tonight's plan, the arms."""
    if name == "generate":
        plan = lake.get("plan", STAGES["plan"].partition(night, {}))
        return [{"shard": shard} for shard in plan.stats["shards"]]
    if name == "finetune":
        return arms(lake.get("blend", STAGES["blend"].partition(night, {})), settings)
    return [{}]


# --- running one ------------------------------------------------------------------------------


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
    started = time.monotonic()
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
            manifest = _work(stage, lake, night, settings, inputs, parts, key)
    except NightshiftError as error:
        raise error.at(stage=name, night=night.key, **parts) from error.__cause__
    except Exception as error:
        place = {"stage": name, "night": night.key, **parts}
        if isinstance(error, OSError) and error.errno in _FULL:
            raise DiskFull(
                "No space left on the disk.",
                hint="free space (`nightshift doctor` shows where) and run the stage again",
                **place,
            ) from error
        log.error("%s %s failed", name, night.key, exc_info=error)
        said = " ".join(str(error).split())[:_CAUSE_CHARS]
        raise StageFailed(
            f"{type(error).__name__}: {said}",
            hint="the log above has where it happened; run the stage again once it is mended",
            **place,
        ) from error
    return Ran(name, manifest, True, time.monotonic() - started)


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


def _work(
    stage: Stage,
    lake: Lake,
    night: Night,
    settings: Settings,
    inputs: Inputs,
    parts: dict[str, str],
    key: str,
) -> Manifest:
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
