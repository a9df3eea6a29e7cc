"""Stage `blend`: which samples each arm is trained on, with their final weights.

The real rows are the snapshot's for every arm; an arm's file holds what comes on top. Challenger:
tonight's accepted samples and those of earlier nights that have not expired, as the recipe
weighs them. Control: nothing. Placebos: as many rows as the challenger has interactions and
sequences.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from nightshift import contracts
from nightshift.blend.placebos import PLACEBOS
from nightshift.recipes import own_weight, weigh
from nightshift.retractions import without_retracted
from nightshift.snapshot import Snapshot
from nightshift.stages import CHALLENGER, CONTROL, StageContext

PLACEBO_SEED = 11


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `<arm>.parquet` for every arm."""
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")["strategies"]
    accepted = ctx.lake.read(ctx.inputs["inspection"], "accepted.parquet")
    if "previous" in ctx.inputs:
        carried = ctx.lake.read(ctx.inputs["previous"], f"{CHALLENGER}.parquet")
    else:
        carried = accepted.clear()
    tail = ctx.settings.generate.tail_events
    tonight = weigh(accepted, recipe, snapshot.items, tail_events=tail)
    # What is carried was made on an earlier night: its weight is set anew by tonight's recipe.
    own = carried.with_columns(weight=own_weight().cast(carried.schema["weight"]))
    ttl = timedelta(days=ctx.settings.blend.ttl_days)
    alive = unexpired(
        weigh(own, recipe, snapshot.items, tail_events=tail),
        snapshot,
        start=ctx.night.start,
        ttl=ttl,
    )
    challenger = pl.concat([tonight, alive]).unique("sample_id", keep="first", maintain_order=True)
    challenger = challenger.sort("sample_id")
    kept = without_retracted(ctx.lake, challenger)
    retracted, challenger = challenger.height - kept.height, kept
    arms = {CONTROL: challenger.clear(), CHALLENGER: challenger}
    for placebo in ctx.settings.blend.placebos:
        arms[placebo] = PLACEBOS[placebo](snapshot, challenger, PLACEBO_SEED)
        ctx.seeds[placebo] = PLACEBO_SEED
    for name, frame in arms.items():
        table = frame.select(contracts.SAMPLES.names).to_arrow(compat_level=None)
        ctx.writer.write_parquet(f"{name}.parquet", table.cast(contracts.SAMPLES))
    return {
        "arms": list(arms),
        "rows": {name: frame.height for name, frame in arms.items()},
        "carried": alive.height,
        "expired": carried.height - alive.height,
        "retracted": retracted,
        "unused": accepted.height - tonight.height,
    }


def unexpired(
    samples: pl.DataFrame, snapshot: Snapshot, *, start: datetime, ttl: timedelta
) -> pl.DataFrame:
    """Samples younger than `ttl` whose item, if they have one, is still in the catalogue."""
    made = pl.coalesce(
        pl.col("night").str.head(10).str.to_date("%Y-%m-%d", strict=False),
        pl.col("night").str.head(8).str.to_date("%Y%m%d", strict=False),
    )
    there = pl.col("item_id").is_null() | pl.col("item_id").is_in(
        snapshot.items["item_id"].implode()
    )
    return samples.filter((made > (start - ttl).date()) & there)
