"""Stage `score`: make the champion live.

The verdict names the line; its refreshed state is loaded (a state that does not load is not
promoted), ranks the catalogue for every active user, and the alias moves, with the recommendations
and the advertising copy in Postgres: all only forward in time. A backfilled night writes its
dataset and moves none; nor does one whose model waits for a person (`promotion.approval`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.compute import set_up_torch
from nightshift.night import microseconds
from nightshift.progress import Progress
from nightshift.recommend.explanations.explain import Explainer
from nightshift.recommend.loading import as_served
from nightshift.recommend.morning import Extended, extend
from nightshift.recommend.ranker import ModelRanker
from nightshift.registry.ad_copy import ad_copy_of
from nightshift.registry.alias import WAITS, move_alias
from nightshift.registry.serving import is_live, model_name
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import LINE_OF_ARM, StageContext
from nightshift.store.publish import blocks_of, publish

log = logging.getLogger("nightshift.score")

FILE = "recommendations.parquet"


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `recommendations.parquet`, move the alias, swap what is live in Postgres."""
    set_up_torch(ctx.settings)
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    state = ctx.inputs["state"]
    line = state.stats["live_line"]
    arm = next(name for name, of in LINE_OF_ARM.items() if of == line)
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")
    extended = extend(snapshot, ctx.lake.scan(ctx.inputs["morning"], "events.parquet"))
    champion = as_served(
        ctx.lake,
        state,
        snapshot,
        read_vectors(ctx.lake, ctx.inputs["vectors"]),
        recipe,
        arm,
        user_keys=snapshot.users["user_key"].to_list(),
        prefix=f"{line}/",
        counted_in=extended.histories,
    )
    users = 0
    with ctx.writer.parquet_stream(FILE, contracts.RECOMMENDATIONS) as stream:
        for frame in recommend(ctx, snapshot, extended, champion):
            users += frame["user_key"].n_unique()
            stream.write_table(_table(frame))
    move = move_alias(ctx.lake, state, line, ctx.night, approval=ctx.settings.promotion.approval)
    if move.alias is not None:
        log.info("live: line %s of night %s (%s)", move.alias.line, move.alias.night, move.why)
    if move.why == WAITS:
        log.info("approve it: nightshift approve --night %s --by NAME --reason WHY", ctx.night.key)
    alias = move.alias
    if alias is not None and move.serves(state, line):
        publish(
            ctx.settings,
            blocks_of(ctx.lake.local_path(ctx.writer.entries[FILE])),
            as_of=ctx.night.end,
            model=model_name(alias),
            ad_copy=lambda: ad_copy_of(ctx.lake, state),
            still=lambda: is_live(ctx.lake, alias),
        )
    return {"users": users, "line": line, "state": state.digest}


def recommend(
    ctx: StageContext, snapshot: Snapshot, extended: Extended, champion: ModelRanker
) -> Iterator[pl.DataFrame]:
    """The top N of every user active lately, and why: a frame for each block of users.

    Each has the columns of contracts.RECOMMENDATIONS; those of the explanation only where
    `score.explain` asks for one.
    """
    settings = ctx.settings.score
    asked_at = microseconds(ctx.night.end)
    since = microseconds(ctx.night.end - timedelta(days=settings.active_days))
    active = np.flatnonzero(extended.last_time >= since)
    keys = pl.Series("user_key", extended.user_keys, dtype=pl.String)
    ids, candidates = snapshot.items["item_id"], ~snapshot.withheld
    explainer = None
    if settings.explain:
        explainer = Explainer(
            champion,
            snapshot.items["text"],
            candidates=candidates,
            history=settings.explain_history,
        )
    with Progress("score", total=len(active), unit="users") as progress:
        for start in range(0, len(active), settings.block):
            users = active[start : start + settings.block]
            histories = extended.histories.take(users).at(asked_at)
            codes, scores = champion.top_k(
                histories,
                settings.top_n,
                candidates=candidates,
                exclude_seen=not snapshot.shop.repeats,
            )
            kept = codes >= 0
            rows, places = np.nonzero(kept)
            frame = pl.DataFrame(
                {
                    "user_key": keys[users[rows]],
                    "rank": places.astype(np.int32) + 1,
                    "item_id": ids[codes[kept]],
                    "score": scores[kept],
                }
            )
            if explainer is not None:
                why = explainer.columns(explainer.explain(histories, codes), kept)
                frame = frame.with_columns(**why)
            yield frame
            progress.add(len(users))


def _table(frame: pl.DataFrame) -> pa.Table:
    """A frame as contracts.RECOMMENDATIONS: what nobody asked for is null."""
    schema = contracts.RECOMMENDATIONS
    table = frame.to_arrow(compat_level=None)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)
