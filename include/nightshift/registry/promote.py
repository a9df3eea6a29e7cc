"""Stage `promote`: the verdict of a night, as a dataset and in the log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nightshift.registry.card import model_card
from nightshift.registry.card_facts import rows_from
from nightshift.registry.log import append
from nightshift.registry.verdict import decide
from nightshift.stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Decide on the pooled rows; the live line follows from the parent state alone."""
    evaluation, parent = ctx.inputs["evaluation"], ctx.inputs.get("parent")
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")
    rows = rows_from(ctx.lake.read_json(evaluation, "pooled.json"))
    before = None if parent is None else str(parent.stats["live_line"])
    verdict = decide(
        rows,
        ctx.settings.evaluate,
        live_line=before,
        empty=bool(evaluation.stats["empty"]),
    )
    body = {
        "night": ctx.night.key,
        "start": ctx.night.start.isoformat(),
        "end": ctx.night.end.isoformat(),
        **asdict(verdict),
        "live_line_before": before,
        "recipe_id": evaluation.stats["recipe_id"],
        "pooled_nights": evaluation.stats["pooled_nights"],
        "users": evaluation.stats["users"],
        "evaluation": evaluation.digest,
        "parent": None if parent is None else parent.partition,
    }
    ctx.writer.write_json("verdict.json", body)
    ctx.writer.write_bytes("model_card.md", model_card(body, rows, recipe).encode())
    append(ctx.lake, body, key16=ctx.writer.folder.rpartition("/")[2])
    return {"decision": verdict.decision, "live_line": verdict.live_line, "winner": verdict.winner}
