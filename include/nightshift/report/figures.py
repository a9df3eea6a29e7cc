"""Every figure of a night, as one JSON-serialisable tree: what `report.json` holds."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import polars as pl

import nightshift
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.report.costs import cost_total
from nightshift.report.coverage import recommendation_figures
from nightshift.report.drift import drift_figures
from nightshift.report.lineage import (
    Used,
    evaluations_back,
    lineage_figures,
    stage_seconds,
    walk,
)
from nightshift.report.results import lift_row
from nightshift.report.samples import sample_figures
from nightshift.report.verdict import verdict_figures
from nightshift.report.words import slice_name
from nightshift.snapshot import Snapshot
from nightshift.stages import LINE_OF_ARM, StageContext

SCHEMA = 1  # of report.json: raised when a reader of it would have to change
HISTORY_NIGHTS = 28
LOSS_POINTS = 60
LIBRARIES = ("numpy", "polars", "pyarrow", "torch", "transformers", "ctranslate2", "safetensors")


def night_figures(ctx: StageContext) -> dict[str, Any]:
    """Read the night's datasets through `ctx.lake`; nothing is computed anew but drift and spread.

    What did not run is there with the reason (`skipped`), never left out in silence.
    """
    lake, inputs, night = ctx.lake, ctx.inputs, ctx.night
    snapshot = Snapshot(lake, inputs["snapshot"])
    used = walk(lake, night, inputs.values())
    evaluation, verdict = inputs["evaluation"], inputs["verdict"]
    tonight = lake.read_json(evaluation, "results.json")
    pooled = lake.read_json(evaluation, "pooled.json")
    recipe = lake.read_json(inputs["recipe"], "recipe.json")
    blend = inputs["blend"]
    strategies = sample_figures(
        lake,
        ctx.settings,
        plan=inputs["plan"],
        samples=inputs["samples"],
        inspection=inputs["inspection"],
        recipe=recipe,
        used=used,
        titles=snapshot.items.select("item_id", "title"),
    )
    return {
        "schema": SCHEMA,
        "night": {
            "key": night.key,
            "start": night.start.isoformat(),
            "end": night.end.isoformat(),
            "first": "parent" not in inputs["recipe"].inputs,
            "morning": dict(inputs["morning"].stats),
            "empty": bool(evaluation.stats.get("empty")),
        },
        "shop": {
            "name": snapshot.shop.name,
            "description": snapshot.shop.description,
            "repeats": snapshot.shop.repeats,
            "target_kinds": list(snapshot.shop.target_kinds),
            "currency": snapshot.shop.currency,
            "items": snapshot.items.height,
            "users": snapshot.users.height,
            "searches": inputs["snapshot"].file("searches.parquet").rows,
            "snapshot": dict(inputs["snapshot"].stats),
        },
        "verdict": verdict_figures(
            lake.read_json(verdict, "verdict.json"),
            pooled=pooled,
            tonight=tonight,
        ),
        "recipe": {**recipe, "tried": lake.read_json(inputs["recipe"], "trials.json")},
        "samples": {
            "skipped": inputs["samples"].stats.get("skipped"),
            "failed_shards": inputs["samples"].stats.get("failed", []),
            "stopped_batches": inputs["inspection"].stats.get("stopped", []),
            "batches": _batches(lake, inputs["inspection"]),
            "strategies": strategies,
            "lost": inputs["samples"].stats.get("lost", {}),
            "lacking": lake.read_json(inputs["plan"], "plan.json")["lacking"],
            "cost": cost_total(strategies, ctx.settings),
        },
        "blend": dict(blend.stats),
        "training": [_arm(lake, one) for one in used if one.stage == "finetune" and one.manifest],
        "evaluation": {
            "results": tonight,
            "pooled": pooled,
            "stats": dict(evaluation.stats),
            "not_judged": _not_judged(snapshot, evaluation, tonight),
        },
        "history": _history(lake, evaluation, verdict),
        "drift": drift_figures(lake, snapshot, inputs["morning"], night),
        "recommendations": recommendation_figures(lake, inputs["recommendations"], snapshot.items),
        "stages": stage_seconds(used),
        "lineage": lineage_figures(used),
        "versions": _versions(verdict),
    }


def _batches(lake: Lake, inspection: Manifest) -> list[dict[str, Any]]:
    """The gates of each batch; the examples are told with the strategies."""
    summary = lake.read_json(inspection, "summary.json")
    return [
        {key: value for key, value in batch.items() if key != "examples"}
        for batch in summary["batches"]
    ]


def _arm(lake: Lake, one: Used) -> dict[str, Any]:
    """One trained arm: steps, final loss, and the losses thinned out for a small curve."""
    manifest = one.manifest
    assert manifest is not None
    parts = dict(level.split("=", 1) for level in one.part.split("/"))
    values = lake.read_json(manifest, "losses.json")["train"]
    every = -(-len(values) // LOSS_POINTS) if values else 1
    return {
        **parts,
        "line": LINE_OF_ARM.get(parts["arm"]),
        "from": "parent" if "parent" in manifest.inputs else "nothing",
        "steps": manifest.stats.get("steps"),
        "loss": manifest.stats.get("loss"),
        "losses": [round(value, 5) for value in values[::every]],
        "seeds": manifest.seeds,
        "seconds": manifest.run.get("seconds"),
    }


def _not_judged(
    snapshot: Snapshot, evaluation: Manifest, results: list[dict[str, Any]]
) -> list[dict[str, str]]:
    """What the evaluation has no figures for, and why."""
    judged = {row["slice"] for row in results}
    missing = []
    search = str(evaluation.stats.get("search", ""))
    if not judged & {"head_queries", "tail_queries"}:
        why = search.removeprefix("not judged: ") or "the shop has no searches"
        missing.append({"what": "search", "why": why})
    if not any(row["metric"] == "auc_impressions" for row in results):
        impressions = snapshot.events().filter(pl.col("kind") == "impression").head(1).collect()
        why = "no figures were made" if impressions.height else "the shop records no impressions"
        missing.append({"what": "clicks on impressions", "why": why})
    missing += [
        {"what": slice_name(name).lower(), "why": "no user of the night falls into it"}
        for name in ("warm", "tail", "cold", "new_users")
        if results and name not in judged
    ]
    return missing


def _history(lake: Lake, evaluation: Manifest, verdict: Manifest) -> list[dict[str, Any]]:
    """Overall lift per night, oldest first: that night alone and pooled up to it."""
    rows = []
    for past, its_verdict in evaluations_back(lake, evaluation, HISTORY_NIGHTS):
        alone = lift_row(lake.read_json(past, "results.json"), "overall") or {}
        pooled = lift_row(lake.read_json(past, "pooled.json"), "overall") or {}
        decided = verdict if past is evaluation else its_verdict
        rows.append(
            {
                "night": past.partition.removeprefix("night="),
                "tonight": {key: alone.get(key) for key in ("relative", "ci95", "n")},
                "pooled": {key: pooled.get(key) for key in ("relative", "ci95", "n")},
                "recipe_id": past.stats.get("recipe_id"),
                "decision": decided.stats.get("decision") if decided else None,
                "live_line": decided.stats.get("live_line") if decided else None,
            }
        )
    return rows[::-1]


def _versions(verdict: Manifest) -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "nightshift": nightshift.__version__,
        "commit": verdict.run.get("commit"),
        "python": platform.python_version(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None  # the reporting machine may be thin: no torch
    return found
