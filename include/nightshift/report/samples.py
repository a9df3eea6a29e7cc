"""What became of the samples: planned, made, accepted, quarantined, and what they cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.report.costs import cost_figures, reasons_for_little, shard_costs
from nightshift.report.lineage import Used
from nightshift.report.words import shorten
from nightshift.settings import Settings
from nightshift.stages import strategy_of

EXAMPLES = 4
MAX_TEXT = 140
MAX_TITLE = 70
MAX_CONTEXT = 3
# Text that failed a check of this name may hold personal data: it is counted, never shown.
_HIDDEN = "personal"


def sample_figures(
    lake: Lake,
    settings: Settings,
    *,
    plan: Manifest,
    samples: Manifest,
    inspection: Manifest,
    recipe: Mapping[str, Any],
    used: Iterable[Used],
    titles: pl.DataFrame,
) -> list[dict[str, Any]]:
    """One entry a strategy, the one that made most first.

    Args:
        settings: for their prices.
        recipe: `recipe.json`; a strategy of weight zero was made but not learned from.
        used: the night's lineage, for what its shards cost.
        titles: `item_id`, `title` of the catalogue.
    """
    planned, made = plan.stats.get("samples", {}), samples.stats.get("made", {})
    accepted = inspection.stats.get("accepted", {})
    rejected = inspection.stats.get("quarantined", {})
    failed = Counter(map(strategy_of, samples.stats.get("failed", [])))
    document = lake.read_json(plan, "plan.json")
    cost = shard_costs(
        one.manifest for one in used if one.stage == "generate" and one.manifest is not None
    )
    kept = lake.scan(inspection, "accepted.parquet")
    refused = lake.scan(inspection, "quarantined.parquet")
    reasons = _reasons(refused)
    examples = _examples(kept, titles), _examples(refused, titles)
    result = []
    for name in dict.fromkeys([*planned, *made, *accepted, *rejected]):
        spent, good = cost.get(name), int(accepted.get(name, 0))
        result.append(
            {
                "strategy": name,
                "planned": planned.get(name),
                "made": int(made.get(name, 0)),
                "accepted": good,
                "quarantined": int(rejected.get(name, 0)),
                "reasons": reasons.get(name, {}),
                "dropped": dict(spent.dropped) if spent else {},
                "why": reasons_for_little(
                    name,
                    spent=spent,
                    lost=samples.stats.get("lost", {}),
                    cut=document["cut"],
                    planned=planned.get(name),
                ),
                "examples": {
                    "accepted": examples[0].get(name, []),
                    "quarantined": examples[1].get(name, []),
                },
                "kind": recipe.get("kinds", {}).get(name),
                "weight": recipe.get("strategies", {}).get(name, {}).get("weight"),
                "scope": recipe.get("strategies", {}).get(name, {}).get("scope"),
                "shards_failed": failed[name],
                **cost_figures(spent, document["estimate"].get(name), good, settings),
            }
        )
    return sorted(result, key=lambda row: (-row["made"], row["strategy"]))


def _reasons(refused: pl.LazyFrame) -> dict[str, dict[str, int]]:
    """Rows per (strategy, failed check), the most frequent first; a row may fail several."""
    counted = (
        refused.select("strategy", "reasons")
        .explode("reasons")
        .group_by("strategy", "reasons")
        .len()
        .sort(["len", "reasons"], descending=[True, False])
        .collect()
    )
    found: dict[str, dict[str, int]] = {}
    for strategy, reason, number in counted.iter_rows():
        found.setdefault(strategy, {})[reason or "no reason given"] = number
    return found


def _examples(rows: pl.LazyFrame, titles: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """A few rows of each strategy: one a reason first, by sample id, which is a content hash."""
    has_reasons = "reasons" in rows.collect_schema().names()
    reasons = pl.col("reasons") if has_reasons else pl.lit([], pl.List(pl.String))
    picked = (
        rows.with_columns(reasons=reasons.cast(pl.List(pl.String)))
        .with_columns(first=pl.col("reasons").list.first())
        .sort("sample_id")
        .with_columns(turn=pl.int_range(pl.len()).over("strategy", "first"))
        .sort("strategy", "turn", "sample_id")
        .group_by("strategy", maintain_order=True)
        .head(EXAMPLES)
        .select("strategy", "kind", "item_id", "context_items", "text", "scores", "reasons")
        .collect()
    )
    names = _names(picked, titles)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in picked.iter_rows(named=True):
        found.setdefault(row["strategy"], []).append(_example(row, names))
    return found


def _names(picked: pl.DataFrame, titles: pl.DataFrame) -> dict[str, str]:
    wanted = pl.concat([picked["item_id"], picked["context_items"].explode()]).unique()
    found = titles.filter(pl.col("item_id").is_in(wanted.implode()))
    return {item: shorten(title or item, MAX_TITLE) for item, title in found.iter_rows()}


def _example(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    context = (row["context_items"] or [])[-MAX_CONTEXT:]
    hidden = any(_HIDDEN in reason for reason in row["reasons"])
    scores = json.loads(row["scores"]) if row["scores"] else {}
    return {
        "kind": row["kind"],
        "item": names.get(row["item_id"], row["item_id"]),
        "context": [names.get(item, item) for item in context],
        "text": None if row["text"] is None or hidden else shorten(row["text"], MAX_TEXT),
        "hidden": hidden,
        "scores": {name: round(float(value), 4) for name, value in sorted(scores.items())},
        "reasons": list(row["reasons"]),
    }
