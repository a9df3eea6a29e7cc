"""Whole nights in a lake without running one: real snapshot, every other dataset made up.

The figures are synthetic and seeded; only their shapes are those of the stages. What is tested
with them is the reading: reports, tables, status.
"""

from __future__ import annotations

import json
import time
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
from nightshift.registry.promote import run as promote
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES, StageContext

SLICES = {"overall": 900, "warm": 840, "tail": 160, "cold": 130, "repeat": 700, "new": 620}
SHARDS = ("text_neighbours-000", "text_neighbours-001", "negatives-000", "llm_queries-000")
ARMS = ("control", "challenger", "random_pairs")
SHARD_SECONDS = 0.002
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
        "plan": _plan,
        "generate": _shard,
        "gather": lambda ctx: _gather(ctx, skipped),
        "inspect": lambda ctx: _inspect(ctx, rng, skipped),
        "tune": _tune,
        "blend": _blend,
        "finetune": _finetune,
        "evaluate": lambda ctx: _evaluate(ctx, number, empty),
        "promote": promote,
        "refresh": lambda ctx: {
            "live_line": ctx.inputs["verdict"].stats["live_line"],
            "night": night.key,
        },
        "score": _score,
    }
    for name in NIGHTLY[1:]:
        if name == "morning":
            _morning(lake, settings, night)
        elif name in writers:
            write_stage(lake, settings, night, name, writers[name])
        if name == until:
            return


def _morning(lake: Lake, settings: Settings, night: Night) -> None:
    """The night's own real events, made from the inputs that the table of stages names."""
    made = write_snapshot(lake, settings, night, households=40, n_items=150, part="morning")

    def run(ctx: StageContext) -> dict[str, Any]:
        for entry in made.files:
            ctx.writer.reuse(entry)
        return made.stats

    write_stage(lake, settings, night, "morning", run)


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


def _plan(ctx: StageContext) -> dict[str, Any]:
    samples = {"text_neighbours": 400, "negatives": 200, "llm_queries": 60}
    row = {"prompt_tokens": 0, "tokens": 0, "seconds": 0.1, "fit_seconds": 0.0, "model": None}
    written = {"prompt_tokens": 6000, "tokens": 960, "seconds": 5.8, "model": "made-up"}
    estimate = {name: row | {"samples": number} for name, number in samples.items()}
    estimate["llm_queries"] |= written
    document = {
        "estimate": estimate,
        "lacking": {"llm_reviews": "the shop has no reviews"},
        "cut": [],
    }
    ctx.writer.write_json("plan.json", document)
    return {"shards": list(SHARDS), "samples": samples}


def _shard(ctx: StageContext) -> dict[str, Any]:
    time.sleep(SHARD_SECONDS)  # so that a cost is not zero
    strategy = ctx.parts["shard"].rpartition("-")[0]
    ctx.run.update(chunks=4, found=1, cached=9 if strategy == "llm_queries" else 0, gpu=False)
    return {
        "strategy": strategy,
        "made": 180,
        "dropped": {"unparsable": 7} if strategy == "llm_queries" else {},
        "tokens": 1200 if strategy == "llm_queries" else 0,
        "prompt_tokens": 5000 if strategy == "llm_queries" else 0,
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
    ctx.writer.write_json("summary.json", {"batches": []})
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
        "beta": {"control": 0.3, "challenger": 0.3},
        "gamma": 0.0,
        "why": "the best cold-item Recall@10 among the recipes that were allowed",
        "strategies": {
            "text_neighbours": {"weight": 0.1, "scope": "short"},
            "negatives": {"weight": 0},
            "llm_queries": {"weight": 1},
        },
    }
    ctx.writer.write_json("recipe.json", recipe)
    ctx.writer.write_json(
        "trials.json",
        {
            "inner_night": "2017-04-20",
            "control_by_beta": {
                str(beta): {
                    "overall": 0.06 - (beta - 0.3) ** 2 / 50,
                    "warm": 0.06,
                    "cold": beta / 9,
                }
                for beta in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
            },
            "trials": [_trial(w, s) for w in (0.1, 0.3) for s in ("short", "all")],
        },
    )
    return {"recipe_id": recipe["recipe_id"], "tuned_as_of": recipe["tuned_as_of"]}


def _trial(weight: float, scope: str) -> dict[str, Any]:
    figures = {
        name: {"value": 0.001, "relative": lift, "low": lift - 0.05, "high": lift + 0.05, "n": 800}
        for name, lift in (("overall", 0.03 - weight / 9), ("warm", -weight / 5), ("cold", 0.2))
    }
    strategies = {
        "text_neighbours": {"weight": weight, "scope": scope},
        "negatives": {"weight": 0.0},
    }
    return {"strategies": strategies, "beta": 0.3, "allowed": weight < 0.2, **figures}


def _blend(ctx: StageContext) -> dict[str, Any]:
    return {
        "arms": list(ARMS),
        "rows": {"control": 0, "challenger": 381, "random_pairs": 381},
        "expired": 12,
    }


def _finetune(ctx: StageContext) -> dict[str, Any]:
    losses = [5.0 / (1 + step / 50) + 2 for step in range(300)]
    ctx.writer.write_json("losses.json", {"train": losses, "query": []})
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
            pairs = (
                ("challenger", "control", lift / scale),
                ("random_pairs", "control", -0.004),
                ("control", "champion", 0.02),
                ("challenger", "champion", 0.02 + lift / scale),
            )
            for arm, against, relative in pairs:
                value = relative * base["control"] * scale * factor
                row = _row(arm, name, metric, value, round(n * users))
                ci95 = [relative - wide, relative + wide]
                bounds = [bound * base["control"] * scale * factor for bound in ci95]
                lift_of = {"relative": relative, "ci95": ci95, "value_ci95": bounds}
                rows.append(row | {"against": against, **lift_of})
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
            "because": [[items[place % 60], items[0]] for place in range(users * top)],
            "words": [["mild", "cheddar"], []] * (users * top // 2),
            "shares": ['{"text":0.7,"id":0.2,"own":0.1}', None] * (users * top // 2),
        }
    )
    _table(ctx, "recommendations.parquet", [frame], contracts.RECOMMENDATIONS)
    return {"users": users, "line": "blend", "state": ctx.inputs["state"].digest}
