"""Stage `evaluate`: every arm on the morning after.

    user_metrics.parquet   one row per (arm, seed, user, slice, metric)
    results.json           tonight: means and paired comparisons (contracts.ResultRow)
    pooled.json            the same over the trailing nights of one recipe: what a verdict reads

It is the only stage before `refresh` that reads the night's own events, and it writes nothing that
anything learns from.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from nightshift import contracts, metrics
from nightshift.compute import set_up_torch
from nightshift.contracts import ResultRow
from nightshift.evaluate.arms import Arm, arms
from nightshift.evaluate.clicks import judge_clicks, shown
from nightshift.evaluate.compare import comparisons, means
from nightshift.evaluate.judge import K, empty_metrics, judge, user_metrics
from nightshift.evaluate.pool import (
    BEYOND,
    POOLED,
    RESULTS,
    USER_METRICS,
    beyond_accuracy,
    trailing,
    user_metrics_of,
)
from nightshift.evaluate.search import Search
from nightshift.evaluate.window import Window, read_window
from nightshift.night import microseconds
from nightshift.ranking import Codes
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import StageContext
from nightshift.text.encoder import Encoder

RAISING_KINDS = ("interaction", "sequence")
"""Kinds of samples that raise an item directly."""


def run(ctx: StageContext) -> dict[str, Any]:
    """Judge tonight's arms and pool them with the nights before."""
    set_up_torch(ctx.settings)
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")
    events = ctx.lake.scan(ctx.inputs["morning"], "events.parquet")
    window = read_window(
        snapshot,
        events,
        asked_at=microseconds(ctx.night.start),
        tail_events=ctx.settings.generate.tail_events,
    )
    ctx.seeds["bootstrap"] = ctx.settings.evaluate.bootstrap_seed
    frame, beyond = empty_metrics(), list[ResultRow]()
    searched = "not judged: the night has no events"
    if len(window):
        vectors = read_vectors(ctx.lake, ctx.inputs["vectors"])
        boosted = _boosted(ctx, snapshot)
        search = Search(
            snapshot,
            ctx.lake.read(ctx.inputs["morning"], "searches.parquet"),
            vectors,
            lambda texts: Encoder(ctx.settings).encode(texts, "embed queries"),
        )
        pairs = shown(snapshot, window, events)
        found = []
        for arm in arms(ctx, snapshot, vectors, recipe):
            judged = judge(arm.ranker, window, label=arm.name)
            found.append(user_metrics(judged, window, arm=arm.name, seed=arm.seed))
            beyond += _beyond(arm, judged.lists, window, snapshot, boosted)
            search.add(arm)
            clicks, calibration = judge_clicks(arm, window, pairs)
            beyond += calibration
            found += [] if clicks is None else [clicks]
        frame, beyond, searched = (
            pl.concat(found + search.frames),
            _over_seeds(beyond),
            search.status,
        )
    return _write(ctx, recipe["recipe_id"], window, frame, beyond, searched)


def _write(
    ctx: StageContext,
    recipe_id: str,
    window: Window,
    frame: pl.DataFrame,
    further: list[ResultRow],
    searched: str,
) -> dict[str, Any]:
    settings = ctx.settings.evaluate
    earlier = trailing(
        ctx.lake,
        ctx.inputs.get("previous"),
        recipe_id=recipe_id,
        nights=settings.pool_nights,
    )
    tonight = frame.with_columns(night=pl.lit(f"night={ctx.night.key}"))
    figures = [*means(tonight), *comparisons(tonight, settings)]
    results, rows = figures + further, figures
    if earlier:
        pooled = pl.concat([tonight, *user_metrics_of(ctx.lake, earlier)])
        rows = [*means(pooled), *comparisons(pooled, settings)]
    rows = rows + beyond_accuracy(ctx.lake, earlier, further)
    schema = contracts.USER_METRICS
    table = frame.select(schema.names).to_arrow(compat_level=None).cast(schema)
    ctx.writer.write_parquet(USER_METRICS, table)
    ctx.writer.write_json(RESULTS, [asdict(row) for row in results])
    ctx.writer.write_json(POOLED, [asdict(row) for row in rows])
    new = int((window.histories.lengths == 0).sum())
    return {
        "empty": len(window) == 0,
        "recipe_id": recipe_id,
        "users": len(window),
        "users_without_history": new,
        "targets": len(window.items),
        "outside_catalogue": window.outside,
        "enough_users": len(window) >= settings.min_users,
        "pooled_nights": 1 + len(earlier),
        "arms": sorted(frame["arm"].unique().to_list()),
        "search": searched,
    }


def _boosted(ctx: StageContext, snapshot: Snapshot) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[items] those that a sample of the challenger raises."""
    samples = ctx.lake.read(ctx.inputs["blend"], "challenger.parquet")
    raised = samples.filter(pl.col("kind").is_in(RAISING_KINDS))["item_id"].unique()
    mask: np.ndarray[Any, np.dtype[np.bool_]] = (
        snapshot.items["item_id"].is_in(raised.implode()).to_numpy()
    )
    return mask


def _beyond(
    arm: Arm,
    lists: Codes,
    window: Window,
    snapshot: Snapshot,
    boosted: np.ndarray[Any, np.dtype[np.bool_]],
) -> list[ResultRow]:
    """Coverage, Gini, novelty and the share of boosted items of one arm's lists."""
    shown = lists[lists >= 0]
    values = (
        metrics.coverage(lists, window.natural),
        metrics.gini(lists, window.natural),
        metrics.novelty(lists, snapshot.item_events),
        float(boosted[shown].mean()) if len(shown) else 0.0,
    )
    assert lists.shape[1] == K  # what the names in BEYOND say
    return [
        ResultRow(arm=arm.name, slice="overall", metric=name, value=value, n=len(window))
        for name, value in zip(BEYOND, values, strict=True)
    ]


def _over_seeds(rows: list[ResultRow]) -> list[ResultRow]:
    """One row per (arm, metric): the mean over seeds."""
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.arm, row.metric), []).append(row)
    return [
        ResultRow(
            arm=arm,
            slice=same[0].slice,
            metric=metric,
            value=float(np.mean([row.value for row in same])),
            n=same[0].n,
        )
        for (arm, metric), same in groups.items()
    ]
