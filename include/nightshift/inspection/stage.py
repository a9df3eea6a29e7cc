"""inspect: every sample is accepted or quarantined with its reasons, or its batch is stopped."""

from __future__ import annotations

import logging
from typing import Any

import polars as pl

from nightshift import contracts
from nightshift.errors import BatchStopped
from nightshift.inspection import docs, summary
from nightshift.inspection.batch import Batch, inspect_batch
from nightshift.inspection.facts import Facts, facts_of
from nightshift.inspection.samples import read_samples, with_codes
from nightshift.inspection.suites import suite_of
from nightshift.progress import Progress
from nightshift.settings import InspectionSettings
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.inspection")

_NAMELESS = "unnamed"
"""Stands for the strategy or kind of a sample that gives none."""


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `accepted.parquet`, `quarantined.parquet`, `summary.json` and `docs/`.

    Raises:
        BatchStopped: a batch was stopped and `inspection.on_stop` is `fail`.
    """
    samples = read_samples(ctx.lake, ctx.inputs["samples"])
    batches = _inspect(ctx, samples) if samples.height else []
    stats = summary.stats(batches)
    for batch in batches:
        log.log(logging.WARNING if batch.stopped else logging.INFO, "%s", batch.line())
    if stats["stopped"] and ctx.settings.inspection.on_stop == "fail":
        raise BatchStopped(
            "; ".join(batch.line() for batch in batches if batch.stopped),
            hint="look at the samples of its shards; inspection.on_stop=drop goes on without them",
        )
    _write_rows(ctx, batches)
    pages = docs.write(ctx.writer, batches, ctx.night)
    ctx.writer.write_json("summary.json", summary.summarise(batches, pages))
    return stats


def _inspect(ctx: StageContext, samples: pl.DataFrame) -> list[Batch]:
    facts = facts_of(
        ctx.lake,
        ctx.settings,
        ctx.night.key,
        snapshot=ctx.inputs["snapshot"],
        vectors=ctx.inputs["vectors"],
        strategies=list(ctx.inputs["samples"].stats.get("made", {})),
    )
    batches: list[Batch] = []
    coded = with_codes(samples, facts)
    with Progress("inspect", total=samples.height, unit="samples") as progress:
        for kind in sorted(coded["kind"].unique(), key=str):
            of_kind = coded.filter(pl.col("kind").eq_missing(kind))
            for batch in _inspect_kind(of_kind, kind, facts, ctx.settings.inspection):
                progress.add(batch.samples.height, batch.name)
                batches.append(batch)
    return sorted(batches, key=lambda batch: (batch.strategy, batch.kind))


def _inspect_kind(
    samples: pl.DataFrame, kind: str | None, facts: Facts, settings: InspectionSettings
) -> list[Batch]:
    """Features of all strategies together (a copy is a copy across them), then batch by batch."""
    suite = suite_of(kind)
    features = suite.features(samples, facts, settings)
    return [
        inspect_batch(
            features.filter(pl.col("strategy").eq_missing(strategy)),
            suite,
            facts,
            settings,
            strategy=strategy or _NAMELESS,
            kind=kind or _NAMELESS,
        )
        for strategy in sorted(features["strategy"].unique(), key=str)
    ]


def _write_rows(ctx: StageContext, batches: list[Batch]) -> None:
    """Both files hold the rows in the order in which they were made."""
    for name, which, schema in (
        ("accepted.parquet", "accepted", contracts.SAMPLES),
        ("quarantined.parquet", "quarantined", contracts.QUARANTINE),
    ):
        frames = [getattr(batch, which) for batch in batches]
        table = schema.empty_table()
        if frames:
            rows = pl.concat(frames).sort("row").select(schema.names)
            table = rows.to_arrow(compat_level=None).cast(schema)
        ctx.writer.write_parquet(name, table)
