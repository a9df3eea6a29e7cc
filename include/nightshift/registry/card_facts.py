"""What the cards of a night's models say, gathered from the datasets that they were made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import polars as pl

from nightshift.contracts import ResultRow
from nightshift.snapshot import Snapshot
from nightshift.stages import StageContext


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one model."""

    shop: str
    night: str
    arm: str
    first_event: datetime | None
    last_event: datetime | None
    """The newest event that the model knows."""
    counts: dict[str, int]
    """`events`, `items`, `users` before the night, and `inside`: events of the night itself."""
    samples: tuple[tuple[str, str, int], ...]
    """(kind, strategy, rows) behind the arm."""
    recipe: dict[str, Any]
    encoder: str
    """Of the encoder's files: what tells one from another."""
    own_encoder: bool
    """The shop's choice instead of the default one."""
    steps: int
    model: dict[str, Any]
    """finetune.model"""
    inputs: dict[str, str]
    """Digests of what it was made of."""


def facts_of(
    ctx: StageContext, arm: str, *, steps: int, model: dict[str, Any], refreshed: bool
) -> Facts:
    """
    Args:
        steps: optimiser steps behind it, all nights together.
        refreshed: whether it knows the events of the night itself, too.
    """
    snapshot, stats = Snapshot(ctx.lake, ctx.inputs["snapshot"]), ctx.inputs["snapshot"].stats
    people = snapshot.users.select(
        first=pl.col("first_event").min(), last=pl.col("last_event").max()
    )
    first, last = people.row(0)
    counts: dict[str, int] = {
        name: int(stats[name]) for name in ("events", "items", "users") if name in stats
    }
    if refreshed:
        inside = ctx.lake.scan(ctx.inputs["morning"], "events.parquet").select("occurred_at")
        newest = inside.max().collect().item()
        counts["inside"] = int(ctx.inputs["morning"].stats["events"])
        last = max((time for time in (last, newest) if time is not None), default=None)
    samples = (
        ctx.lake.scan(ctx.inputs["blend"], f"{arm}.parquet")
        .group_by("kind", "strategy")
        .agg(rows=pl.len())
        .sort("kind", "strategy")
        .collect()
    )
    return Facts(
        shop=snapshot.shop.name,
        night=ctx.night.key,
        arm=arm,
        first_event=first,
        last_event=last,
        counts=counts,
        samples=tuple(cast("Any", samples).iter_rows()),
        recipe=ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json"),
        encoder=str(ctx.inputs["vectors"].stats.get("encoder", "")),
        own_encoder=ctx.settings.text.encoder is not None,
        steps=steps,
        model=model,
        inputs={name: manifest.digest for name, manifest in sorted(ctx.inputs.items())},
    )


def rows_from(raw: Iterable[dict[str, Any]]) -> list[ResultRow]:
    """Rows from JSON, whose intervals come back as lists."""
    return [_row(one) for one in raw]


def _row(raw: dict[str, Any]) -> ResultRow:
    intervals = {k: tuple(v) for k, v in raw.items() if k.endswith("ci95") and v is not None}
    fields: dict[str, Any] = raw | intervals
    return ResultRow(**fields)
