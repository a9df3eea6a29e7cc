"""Whole nights in a lake without running one: real snapshot, every other dataset made up.

The figures are synthetic and seeded; only their shapes are those of the stages. What is tested
with them is the reading: reports, tables, status.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from factories import commit, write_snapshot
from nightshift import contracts, stages
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES, StageContext

SLICES = {"overall": 900, "warm": 840, "tail": 160, "cold": 130, "repeat": 700, "new": 620}
SHARDS = ("text_neighbours-000", "text_neighbours-001", "negatives-000", "llm_queries-000")
ARMS = ("control", "challenger", "random_pairs")
EVIL = "<script>alert('x')</script> & \"quoted\""
PERSONAL = "call me at 030 1234567"


def write_nights(
    lake: Lake, settings: Settings, nights: list[Night], *, until: str = "score"
) -> None:
    """Consecutive nights, the first one first, each up to and including the stage `until`."""
    for number, night in enumerate(nights):
        write_night(lake, settings, night, number=number, until=until)


def nights_from(first: Night, count: int) -> list[Night]:
    day = timedelta(days=1)
    return [Night(first.start + i * day, first.end + i * day) for i in range(count)]


def write_night(
    lake: Lake,
    settings: Settings,
    night: Night,
    *,
    number: int = 0,
    until: str = "score",
    empty: bool = False,
    skipped: str | None = None,
) -> None:
    """One night; `number` 0 is the first. `empty`: no events to judge by; `skipped`: no samples."""
    rng = np.random.default_rng(number)
    write_snapshot(lake, settings, night, households=40, n_items=150)
    if until == "collect":
        return
    writers: dict[str, Callable[[StageContext], dict[str, Any]]] = {
        "embed": lambda ctx: {"encoder": "made-up"},
        "plan": lambda ctx: {
            "shards": list(SHARDS),
            "samples": {"text_neighbours": 400, "negatives": 200, "llm_queries": 60},
        },
        "generate": _shard,
        "gather": lambda ctx: _gather(ctx, skipped),
        "inspect": lambda ctx: _inspect(ctx, rng, skipped),
        "tune": _tune,
        "blend": _blend,
        "finetune": _finetune,
        "evaluate": lambda ctx: _evaluate(ctx, number, empty),
        "promote": lambda ctx: _promote(ctx, number, empty),
        "refresh": lambda ctx: {"live_line": "blend" if number else "real", "night": night.key},
        "score": _score,
    }
    for name in list(STAGES)[1:]:
        if name == "morning":
            write_snapshot(lake, settings, night, households=40, n_items=150, part="morning")
        elif name in writers:
            write_stage(lake, settings, night, name, writers[name])
        if name == until:
            return


def write_stage(
    lake: Lake,
    settings: Settings,
    night: Night,
    name: str,
    run: Callable[[StageContext], dict[str, Any]],
) -> list[Manifest]:
    """Every part of a stage, from the inputs that the table of stages resolves."""
    stage = STAGES[name]
    inputs = stages.resolve_inputs(stage, lake, night, settings)
    return [
        commit(lake, settings, night, stage, run, inputs, parts)
        for parts in stages.parts_of(name, lake, night, settings)
    ]


def _shard(ctx: StageContext) -> dict[str, Any]:
    strategy = ctx.parts["shard"].rpartition("-")[0]
    return {
        "strategy": strategy,
        "made": 180,
        "dropped": {"unparsable": 7} if strategy == "llm_queries" else {},
        "tokens": 1200 if strategy == "llm_queries" else 0,
    }


def _gather(ctx: StageContext, skipped: str | None) -> dict[str, Any]:
    if skipped:
        return {"made": {}, "failed": list(SHARDS), "skipped": skipped}
    return {
        "made": {"text_neighbours": 360, "negatives": 180, "llm_queries": 53},
        "failed": [],
        "skipped": None,
    }


def sample_rows(
    items: pl.DataFrame, strategy: str, kind: str, number: int, night: str
) -> pl.DataFrame:
    """contracts.SAMPLES of one strategy; the first text is hostile markup."""
    ids = items["item_id"].head(20).to_list()
    texts = [EVIL, *(f"query {i}" for i in range(1, number))] if kind == "query" else None
    return pl.DataFrame(
        {
            "sample_id": [f"{strategy}-{i:05}" for i in range(number)],
            "kind": [kind] * number,
            "strategy": [strategy] * number,
            "item_id": [ids[i % 20] for i in range(number)],
            "user_key": [None if texts else f"u{i}" for i in range(number)],
            "context_items": [[] if texts else ids[:4]] * number,
            "text": texts or [None] * number,
            "label": [1.0] * number,
            "weight": [1.0] * number,
            "scores": [json.dumps({"similarity": 0.5 + i / 1000}) for i in range(number)],
            "lineage": ["{}"] * number,
            "night": [night] * number,
            "shard": [f"{strategy}-000"] * number,
        },
        schema_overrides={"user_key": pl.String, "text": pl.String},
    )


def _inspect(ctx: StageContext, rng: np.random.Generator, skipped: str | None) -> dict[str, Any]:
    items = ctx.lake.read(ctx.inputs["snapshot"], "items.parquet")
    kinds = {"text_neighbours": "interaction", "negatives": "negative", "llm_queries": "query"}
    per_strategy = {} if skipped else {"text_neighbours": 340, "negatives": 172, "llm_queries": 41}
    bad = {} if skipped else {"text_neighbours": 20, "negatives": 8, "llm_queries": 12}
    good = [sample_rows(items, s, kinds[s], n, ctx.night.key) for s, n in per_strategy.items()]
    refused = [sample_rows(items, s, kinds[s], n, ctx.night.key) for s, n in bad.items()]
    checks = ["duplicate", "too_close_to_a_real_row", "low_relevance"]
    frames = [
        frame.with_columns(
            reasons=pl.Series([[checks[i]] for i in rng.integers(0, 3, frame.height)])
        )
        for frame in refused
    ]
    if frames:
        frames[-1] = frames[-1].with_columns(
            text=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(PERSONAL)).otherwise("text"),
            reasons=pl.when(pl.int_range(pl.len()) == 1)
            .then(pl.lit(["personal_data"]))
            .otherwise("reasons"),
        )
    _table(ctx, "accepted.parquet", good, contracts.SAMPLES)
    _table(ctx, "quarantined.parquet", frames, contracts.QUARANTINE)
    ctx.writer.write_json("summary.json", {"suites": {}})
    return {"accepted": per_strategy, "quarantined": bad, "reasons": {}, "stopped": []}


def _table(ctx: StageContext, name: str, frames: list[pl.DataFrame], schema: Any) -> None:
    table = (
        pl.concat(frames).select(schema.names).to_arrow(compat_level=None).cast(schema)
        if frames
        else schema.empty_table()
    )
    ctx.writer.write_parquet(name, table)


def _tune(ctx: StageContext) -> dict[str, Any]:
    recipe = {
        "recipe_id": "f00dfeed0001",
        "tuned_as_of": "2017-05-20T00:00:00+00:00",
        "beta": {"control": 0.3, "challenger": 0.2},
        "strategies": {
            "text_neighbours": {"weight": 0.1, "scope": "short"},
            "negatives": {"weight": 0},
            "llm_queries": {"weight": 1},
        },
    }
    ctx.writer.write_json("recipe.json", recipe)
    ctx.writer.write_json(
        "trials.json",
        [
            {"strategy": "text_neighbours", "weight": w, "scope": s, "ndcg@10": 0.02 + w / 100}
            for w in (0.1, 0.3)
            for s in ("short", "all")
        ],
    )
    return {"recipe_id": recipe["recipe_id"], "tuned_as_of": recipe["tuned_as_of"]}


def _blend(ctx: StageContext) -> dict[str, Any]:
    return {
        "arms": list(ARMS),
        "rows": {"control": 0, "challenger": 381, "random_pairs": 381},
        "expired": 12,
    }


def _finetune(ctx: StageContext) -> dict[str, Any]:
    losses = [5.0 / (1 + step / 50) + 2 for step in range(300)]
    ctx.writer.write_json("losses.json", losses)
    ctx.seeds["model"] = int(ctx.parts["seed"])
    return {"steps": 300, "loss": losses[-1]}


def result_rows(lift: float, half: float, users: float = 1.0) -> list[dict[str, Any]]:
    """Rows as evaluate writes them: means of every arm, challenger and placebo against control."""
    base = {"control": 0.060, "challenger": 0.060 * (1 + lift), "random_pairs": 0.0597}
    base |= {"champion": 0.0595, "popularity_7d": 0.031, "item_knn": 0.044, "text_knn": 0.022}
    rows: list[dict[str, Any]] = []
    for name, n in SLICES.items():
        scale = {"cold": 0.3, "tail": 0.5}.get(name, 1.0)
        for metric, factor in (("ndcg@10", 1.0), ("recall@10", 1.9), ("mrr", 0.8)):
            for arm, value in base.items():
                rows.append(_row(arm, name, metric, value * scale * factor, round(n * users)))
            wide = half * (900 / n) ** 0.5
            pairs = (("challenger", lift / scale), ("random_pairs", -0.004))
            for arm, relative in pairs:
                value = relative * base["control"] * scale * factor
                row = _row(arm, name, metric, value, round(n * users))
                ci95 = [relative - wide, relative + wide]
                rows.append(row | {"against": "control", "relative": relative, "ci95": ci95})
    for arm in base:
        rows.append(_row(arm, "overall", "coverage@10", 0.41, 900))
        rows.append(_row(arm, "overall", "gini@10", 0.83, 900))
    return rows


def _row(arm: str, slice_: str, metric: str, value: float, n: int) -> dict[str, Any]:
    return {
        "arm": arm,
        "slice": slice_,
        "metric": metric,
        "value": value,
        "n": n,
        "against": None,
        "relative": None,
        "ci95": None,
        "seed": None,
        "value_ci95": None,
    }


def _evaluate(ctx: StageContext, number: int, empty: bool) -> dict[str, Any]:
    lift = 0.02 + 0.015 * np.sin(number * 2.0)
    ctx.writer.write_json("results.json", [] if empty else result_rows(lift, 0.05))
    pooled = result_rows(0.02 + 0.004 * number, 0.05 / (number + 1) ** 0.5, number + 1)
    ctx.writer.write_json("pooled.json", [] if empty else pooled)
    return {
        "empty": empty,
        "recipe_id": "f00dfeed0001",
        "users": 0 if empty else 900,
        "pooled_nights": number + 1,
        "search": "not judged: the shop has no searches",
    }


def _promote(ctx: StageContext, number: int, empty: bool) -> dict[str, Any]:
    decision = "empty" if empty else "promoted" if number >= 1 else "kept"
    line = "blend" if decision == "promoted" else "real"
    verdict = {
        "decision": decision,
        "live_line": line,
        "reason": "the night has no events"
        if empty
        else "The lift on NDCG@10, overall, is above zero over all pooled nights.",
        "gates": [
            {"name": "overall_not_worse", "passed": True, "wanted": "> −1 %", "found": "−0.4 %"},
            {"name": "target_slice_gains", "passed": number >= 1, "wanted": "> 0", "found": "0.2"},
        ],
    }
    ctx.writer.write_json("verdict.json", verdict)
    return {"decision": decision, "live_line": line}


def _score(ctx: StageContext) -> dict[str, Any]:
    items = ctx.lake.read(ctx.inputs["snapshot"], "items.parquet")["item_id"]
    users, top = 30, 5
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "user_key": [f"u{u:03}" for u in range(users) for _ in range(top)],
            "rank": [rank + 1 for _ in range(users) for rank in range(top)],
            "item_id": [items[int(i)] for i in rng.integers(0, 60, users * top)],
            "score": rng.random(users * top),
        }
    )
    _table(ctx, "recommendations.parquet", [frame], contracts.RECOMMENDATIONS)
    return {"users": users, "alias": f"{ctx.night.key}/real"}
