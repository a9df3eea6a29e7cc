"""Stage `tune`: choose the recipe on an inner split of what lies before the night.

A state that has seen everything before `start` cannot choose anything on it. So an inner night is
cut out of the past: its snapshot ends at a quantile of the event times, a tenth of the items
are withheld on top, its samples are planned, made and inspected by the very stages that serve the
real night, and its events are the validation. Between tunings the parent's recipe goes on.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from nightshift import stages
from nightshift.compute import set_up_torch
from nightshift.errors import BadInput
from nightshift.lake import Lake
from nightshift.night import Night, microseconds
from nightshift.nights import run_parts
from nightshift.recommend.choosing.candidates import (
    GROUPS,
    Candidate,
    candidates,
    inner_budget,
    kinds,
    together,
    tunable,
)
from nightshift.recommend.choosing.recipe import Recipe, choose
from nightshift.recommend.choosing.trials import SEED, Trials
from nightshift.recommend.choosing.validation import Validation
from nightshift.recommend.samples.texts import once
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.tune")

_INNER_SALT = 90_210


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `recipe.json` and `trials.json`."""
    parent = ctx.inputs.get("parent")
    if parent is not None:
        as_of = datetime.fromisoformat(parent.stats["tuned_as_of"])
        if ctx.night.start - as_of < timedelta(days=ctx.settings.tune.every_days):
            return _carry_on(ctx)
    set_up_torch(ctx.settings)
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    inner, settings = inner_night(snapshot, ctx.night, ctx.settings)
    log.info("tune: inner night %s", inner.key)
    lost = _prepare(inner, settings)
    trials = _trials(ctx, inner, settings)
    wanted = candidates(ctx.settings)
    control = trials.run(wanted[0])
    tried = [trials.run(one) for one in wanted[1:] if trials.worth_it(one)]
    beta, chosen, why, rows = choose(
        control,
        tried,
        ctx.settings.tune,
        combine=lambda winners: trials.run(
            together([Candidate(one.strategies, one.tries, one.group) for one in winners])
        ),
    )
    made = kinds(ctx.settings)
    # Queries and advertisements do not touch the ranking of items: nothing to weigh.
    untuned = {name: {"weight": 1.0} for name, kind in made.items() if kind not in GROUPS}
    # With no sample to try after failures, the choice is due again on the next night.
    age = ctx.settings.tune.every_days if lost.skipped is not None and lost.failed else 0
    recipe = Recipe(
        tuned_as_of=(ctx.night.start - timedelta(days=age)).isoformat(),
        beta={"control": beta, "challenger": beta},
        gamma=trials.gamma,
        strategies=chosen.strategies | untuned,
        why=why,
        kinds=made,
        history=trials.history_weight(_searches(ctx, inner)),
        lean=trials.lean,
        follow=trials.follow,
    )
    ctx.seeds["tune"] = SEED
    ctx.writer.write_json("recipe.json", recipe.as_json())
    betas = {
        b: {n: control.mean(b, n) for n in ("overall", "warm", "cold")} for b in control.figures
    }
    ctx.writer.write_json(
        "trials.json",
        {"inner_night": inner.key, "control_by_beta": betas, "trials": rows, **asdict(lost)},
    )
    return {
        "recipe_id": recipe.recipe_id,
        "tuned_as_of": recipe.tuned_as_of,
        "trials": 1 + len(rows),
        "lost": sorted(lost.lost),
    }


def _carry_on(ctx: StageContext) -> dict[str, Any]:
    """The recipe that the parent state was made with."""
    ref = ctx.inputs["parent"].inputs["recipe"]
    recipe = ctx.lake.get_ref(ref)
    for name in ("recipe.json", "trials.json"):
        ctx.writer.reuse(recipe.file(name))
    return {"recipe_id": recipe.stats["recipe_id"], "tuned_as_of": recipe.stats["tuned_as_of"]}


def inner_night(snapshot: Snapshot, night: Night, settings: Settings) -> tuple[Night, Settings]:
    """The night cut out of the past, and the settings it runs under.

    Raises:
        BadInput: too little history to cut anything out of.
    """
    tune = settings.tune
    times = np.sort(snapshot.histories.times)
    if len(times) < 2 or times[0] == times[-1]:
        raise BadInput(
            "The history before this night has too few events to choose a recipe on.",
            hint="start with a later first night",
        )
    moment = datetime.fromtimestamp(float(np.quantile(times, tune.inner_cut)) // 1e6, UTC)
    # Whole days where the history spans many: segments of the snapshot are then shared.
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    inner = Night(day if microseconds(day) > times[0] else moment, night.start, inner=True)
    withhold = [w.model_dump() for w in settings.collect.withhold]
    return inner, settings.with_(
        {
            "night": {"first": inner.start.isoformat()},
            "collect": {"withhold": [*withhold, {"share": tune.withhold, "salt": _INNER_SALT}]},
            "generate": {
                "strategies": tunable(settings),
                "budget": inner_budget(settings).model_dump(),
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Lost:
    """What the inner night went without, by the failure budgets of the real one."""

    failed: list[str]
    """Shards."""
    lost: dict[str, str]
    """Strategies of which too many shards failed, and that in words."""
    skipped: str | None
    """Why no sample at all was tried."""


def _prepare(inner: Night, settings: Settings) -> Lost:
    """The inner night's stages up to its inspected samples, and its validation events.

    A shard that fails is judged by `gather`, as on a real night.
    """
    lake = Lake.of(settings)
    for name in ("collect", "embed", "plan", "generate", "gather", "inspect", "morning"):
        list(run_parts(name, stages.parts_of(name, lake, inner, settings), inner, settings))
    gathered = lake.get("samples", f"night={inner.key}").stats
    lost = Lost(gathered["failed"], gathered["lost"], gathered["skipped"])
    if lost.failed:
        log.warning("tune: %d shards of the inner night failed", len(lost.failed))
    for name, why in lost.lost.items():
        log.warning("tune: nothing of %s can be tried: %s", name, why)
    if lost.skipped is not None:
        log.warning("tune: no sample can be tried: %s", lost.skipped)
    return lost


def _searches(ctx: StageContext, inner: Night) -> pl.DataFrame:
    """Those of the inner night, without items that the real night withholds: judged later."""
    hidden = Snapshot(ctx.lake, ctx.inputs["snapshot"]).items.filter("withheld")
    asked = ctx.lake.read(ctx.lake.get("morning", f"night={inner.key}"), "searches.parquet")
    return asked.join(hidden.select("item_id"), on="item_id", how="anti", maintain_order="left")


def _trials(ctx: StageContext, inner: Night, settings: Settings) -> Trials:
    """What every trial reads: the inner night's datasets, and who judges."""
    lake = ctx.lake
    of_night = f"night={inner.key}"
    snapshot = Snapshot(lake, lake.get("snapshot", of_night))
    # The inner morning has the events of everything withheld. What the real night withholds is kept
    # from this choice too: it is judged later.
    hidden = Snapshot(lake, ctx.inputs["snapshot"]).items.lazy().filter("withheld")
    morning = lake.scan(lake.get("morning", of_night), "events.parquet")
    validation = Validation.of(
        snapshot,
        morning.join(hidden.select("item_id"), on="item_id", how="anti"),
        settings,
        asked_at=microseconds(inner.start),
    )
    accepted = lake.read(lake.get("inspection", of_night), "accepted.parquet")
    return Trials(
        settings,
        ctx.writer.scratch,
        snapshot,
        read_vectors(lake, lake.get("vectors", of_night)),
        accepted,
        validation,
        once(lake, settings, accepted),
    )
