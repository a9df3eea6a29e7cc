"""Stage `score`: make the champion live.

The verdict names the line; its refreshed state is loaded (a state that does not load is not
promoted), ranks the catalogue for every active user, and the alias moves, with the recommendations
and the advertising copy in Postgres: all only forward in time. A backfilled night writes its
dataset and moves none; nor does one whose model waits for a person (`promotion.approval`).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from nightshift import contracts
from nightshift.compute import set_up_torch
from nightshift.night import microseconds
from nightshift.progress import Progress
from nightshift.recommend import ranker
from nightshift.recommend.morning import extend
from nightshift.registry.ad_copy import ad_copy_of
from nightshift.registry.alias import WAITS, move_alias
from nightshift.registry.serving import is_live, model_name
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import LINE_OF_ARM, StageContext
from nightshift.store.publish import publish

log = logging.getLogger("nightshift.score")


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `recommendations.parquet`, move the alias, swap what is live in Postgres."""
    set_up_torch(ctx.settings)
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    state = ctx.inputs["state"]
    line = state.stats["live_line"]
    arm = next(name for name, of in LINE_OF_ARM.items() if of == line)
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")
    champion = ranker.load(
        ctx.lake,
        state,
        item_ids=snapshot.items["item_id"].to_list(),
        vectors=read_vectors(ctx.lake, ctx.inputs["vectors"]),
        beta=recipe["beta"][arm],
        gamma=recipe["gamma"],
        user_keys=snapshot.users["user_key"].to_list(),
        prefix=f"{line}/",
    )
    frame = recommend(ctx, snapshot, champion)
    table = frame.to_arrow(compat_level=None).cast(contracts.RECOMMENDATIONS)
    ctx.writer.write_parquet("recommendations.parquet", table)
    move = move_alias(ctx.lake, state, line, ctx.night, approval=ctx.settings.promotion.approval)
    if move.alias is not None:
        log.info("live: line %s of night %s (%s)", move.alias.line, move.alias.night, move.why)
    if move.why == WAITS:
        log.info("approve it: nightshift approve --night %s --by NAME --reason WHY", ctx.night.key)
    alias = move.alias
    if alias is not None and move.serves(state, line):
        publish(
            ctx.settings,
            frame,
            as_of=ctx.night.end,
            model=model_name(alias),
            ad_copy=lambda: ad_copy_of(ctx.lake, state),
            still=lambda: is_live(ctx.lake, alias),
        )
    return {"users": frame["user_key"].n_unique(), "line": line, "state": state.digest}


def recommend(ctx: StageContext, snapshot: Snapshot, champion: ranker.ModelRanker) -> pl.DataFrame:
    """The top N of every user active lately, as contracts.RECOMMENDATIONS."""
    settings = ctx.settings.score
    extended = extend(snapshot, ctx.lake.scan(ctx.inputs["morning"], "events.parquet"))
    asked_at = microseconds(ctx.night.end)
    since = microseconds(ctx.night.end - timedelta(days=settings.active_days))
    active = np.flatnonzero(extended.last_time >= since)
    keys = pl.Series("user_key", extended.user_keys, dtype=pl.String)
    ids = snapshot.items["item_id"]
    parts = [
        pl.DataFrame(
            schema={
                "user_key": pl.String,
                "rank": pl.Int32,
                "item_id": pl.String,
                "score": pl.Float32,
            }
        )
    ]
    with Progress("score", total=len(active), unit="users") as progress:
        for start in range(0, len(active), settings.block):
            users = active[start : start + settings.block]
            codes, scores = champion.top_k(
                extended.histories.take(users).at(asked_at),
                settings.top_n,
                candidates=~snapshot.withheld,
                exclude_seen=not snapshot.shop.repeats,
            )
            kept = codes.ravel() >= 0
            parts.append(
                pl.DataFrame(
                    {
                        "user_key": keys[np.repeat(users, codes.shape[1])[kept]],
                        "rank": np.tile(
                            np.arange(1, codes.shape[1] + 1, dtype=np.int32), len(users)
                        )[kept],
                        "item_id": ids[codes.ravel()[kept]],
                        "score": scores.ravel()[kept],
                    }
                )
            )
            progress.add(len(users))
    return pl.concat(parts)
