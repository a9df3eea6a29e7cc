"""Stage `refresh`: both lines take in the night's own events, whatever the verdict.

The state is filed under `night.end`, the time up to which it knows everything; the night that
starts there begins with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nightshift.compute import set_up_torch
from nightshift.recommend.finetune import pass_over
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.attributes import attribute_codes
from nightshift.recommend.model.features import check_finite
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.morning import extend
from nightshift.recommend.samples.texts import PROFILES
from nightshift.recommend.search.hybrid import FILES as SEARCH_FILES
from nightshift.registry.card_facts import facts_of, rows_from
from nightshift.registry.readme import line_readme
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import LINE_OF_ARM, StageContext, arm_input, state_partition


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `real/…` and `blend/…`: weights, config and card of both lines, what is said of
    customers."""
    set_up_torch(ctx.settings)
    seed = ctx.settings.finetune.seeds[0]
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    vectors = read_vectors(ctx.lake, ctx.inputs["vectors"])
    morning = ctx.lake.scan(ctx.inputs["morning"], "events.parquet")
    extended = extend(snapshot, morning)
    item_ids = snapshot.items["item_id"].to_list()
    attributes = attribute_codes(snapshot.items)
    check_finite(vectors, item_ids)
    losses: dict[str, Any] = {}
    for arm, line in LINE_OF_ARM.items():
        trained = ctx.inputs[arm_input(arm, seed)]
        stored = checkpoint.load(ctx.lake, trained, item_ids, attributes=attributes)
        features = torch.from_numpy(stored.features(vectors))
        losses[line] = pass_over(
            stored,
            IdDeltas(stored.deltas),
            features,
            extended.histories,
            extended.new,
            ctx,
            seed=seed,
            part=line,
            label=f"refresh {line}",
        )
        checkpoint.save(stored, ctx.writer, f"{line}/", line=line)
        ctx.writer.write_bytes(f"{line}/README.md", _card(ctx, arm, stored).encode())
        for name in (PROFILES, *SEARCH_FILES):
            for entry in trained.named(name):
                ctx.writer.reuse(replace(entry, name=f"{line}/{entry.name}"))
    ctx.seeds["refresh"] = seed
    return {
        "night": ctx.night.key,
        "interval": f"{ctx.night.start.isoformat()}/{ctx.night.end.isoformat()}",
        "live_line": ctx.inputs["verdict"].stats["live_line"],
        "encoder": ctx.inputs["vectors"].stats.get("encoder"),
        "recipe_id": ctx.inputs["recipe"].stats["recipe_id"],
        "tuned_as_of": ctx.inputs["recipe"].stats["tuned_as_of"],
        "events": int(extended.new.sum()),
        "loss": {line: values[-1] if values else None for line, values in losses.items()},
    }


def _card(ctx: StageContext, arm: str, stored: checkpoint.Checkpoint) -> str:
    facts = facts_of(
        ctx,
        arm,
        steps=stored.steps,
        model=stored.model.settings.model_dump(mode="json"),
        refreshed=True,
    )
    return line_readme(
        facts,
        ctx.lake.read_json(ctx.inputs["verdict"], "verdict.json"),
        rows_from(ctx.lake.read_json(ctx.inputs["evaluation"], "pooled.json")),
        partition=state_partition(ctx.night.end),
    )
