"""Stage `tune`: choose the recipe on an inner split of what lies before the night.

A state that has seen everything before `start` cannot choose anything on it. So an inner night is
cut out of the past: its snapshot ends at a quantile of the event times, a tenth of the items
are withheld on top, its samples are planned, made and inspected by the very stages that serve the
real night, and its events are the validation. Between tunings the parent's recipe goes on.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from nightshift import stages
from nightshift.compute import set_up_torch
from nightshift.errors import BadInput
from nightshift.night import Night
from nightshift.recipes import weigh
from nightshift.recommend import checkpoint
from nightshift.recommend.arms import sample_rows, training_set
from nightshift.recommend.parallel import train_model
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.recipe import Recipe, Trial, best_beta, choose
from nightshift.recommend.sample_deltas import fit_sample_deltas
from nightshift.recommend.steps import Plan
from nightshift.recommend.train import IdDeltas
from nightshift.recommend.validation import Validation
from nightshift.recommend.windows import Windows
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.tune")

TUNABLE = ("text_neighbours", "negatives")
_INNER_SALT = 90_210
_SEED = 0


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `recipe.json` and `trials.json`."""
    parent = ctx.inputs.get("parent")
    if parent is not None:
        as_of = datetime.fromisoformat(parent.stats["tuned_as_of"])
        if ctx.night.start - as_of < timedelta(days=ctx.settings.tune.every_days):
            return _carry_on(ctx)
    set_up_torch(ctx.settings)
    inner, settings = inner_night(ctx)
    log.info("tune: inner night %s", inner.key)
    _prepare(inner, settings)
    trials, gamma = _trials(ctx, inner, settings)
    control = trials[0]
    beta, chosen, why, rows = choose(control, trials[1:], ctx.settings.tune)
    strategies = chosen.strategies | {
        name: {"weight": 1.0}
        for name in ctx.settings.generate.strategies
        if name not in TUNABLE  # texts do not touch the ranking of items: nothing to weigh
    }
    recipe = Recipe(
        ctx.night.start.isoformat(), {"control": beta, "challenger": beta}, gamma, strategies, why
    )
    ctx.seeds["tune"] = _SEED
    ctx.writer.write_json("recipe.json", recipe.as_json())
    betas = {
        b: {n: control.mean(b, n) for n in ("overall", "warm", "cold")} for b in control.figures
    }
    ctx.writer.write_json(
        "trials.json", {"inner_night": inner.key, "control_by_beta": betas, "trials": rows}
    )
    return {"recipe_id": recipe.recipe_id, "tuned_as_of": recipe.tuned_as_of, "trials": len(trials)}


def _carry_on(ctx: StageContext) -> dict[str, Any]:
    """The recipe that the parent state was made with."""
    ref = ctx.inputs["parent"].inputs["recipe"]
    recipe = ctx.lake.get_ref(ref)
    for name in ("recipe.json", "trials.json"):
        ctx.writer.reuse(recipe.file(name))
    return {"recipe_id": recipe.stats["recipe_id"], "tuned_as_of": recipe.stats["tuned_as_of"]}


def inner_night(ctx: StageContext) -> tuple[Night, Settings]:
    """The night cut out of the past, and the settings it runs under.

    Raises:
        BadInput: too little history to cut anything out of.
    """
    tune = ctx.settings.tune
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    times = np.sort(snapshot.histories.times)
    if len(times) < 2 or times[0] == times[-1]:
        raise BadInput(
            "The history before this night has too few events to choose a recipe on.",
            hint="start with a later first night",
        )
    moment = datetime.fromtimestamp(float(np.quantile(times, tune.inner_cut)) // 1e6, UTC)
    # Whole days where the history spans many: segments of the snapshot are then shared.
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    inner = Night(day if day.timestamp() * 1e6 > times[0] else moment, ctx.night.start, inner=True)
    withhold = [w.model_dump() for w in ctx.settings.collect.withhold]
    return inner, ctx.settings.with_(
        {
            "night": {"first": inner.start.isoformat()},
            "collect": {"withhold": [*withhold, {"share": tune.withhold, "salt": _INNER_SALT}]},
            "generate": {
                "strategies": [s for s in ctx.settings.generate.strategies if s in TUNABLE]
            },
        }
    )


def _prepare(inner: Night, settings: Settings) -> None:
    """The inner night's stages up to its inspected samples, and its validation events."""
    from nightshift.lake import Lake

    lake = Lake.of(settings)
    for name in ("collect", "embed", "plan", "generate", "gather", "inspect", "morning"):
        for parts in stages.parts_of(name, lake, inner, settings):
            stages.run(name, inner, settings, parts)


def _trials(ctx: StageContext, inner: Night, settings: Settings) -> tuple[list[Trial], float]:
    """The control first, then every recipe worth trying; and the γ they were served with."""
    lake = ctx.lake
    of_night = f"night={inner.key}"
    snapshot = Snapshot(lake, lake.get("snapshot", of_night))
    vectors = read_vectors(lake, lake.get("vectors", of_night))
    accepted = lake.read(lake.get("inspection", of_night), "accepted.parquet")
    # The inner morning has the events of everything withheld. What the real night withholds is kept
    # from this choice too: it is judged later.
    hidden = Snapshot(lake, ctx.inputs["snapshot"]).items.lazy().filter("withheld")
    morning = lake.scan(lake.get("morning", of_night), "events.parquet")
    validation = Validation.of(
        snapshot, morning.join(hidden.select("item_id"), on="item_id", how="anti"), settings
    )
    trials: list[Trial] = []
    gamma, betas = 0.0, settings.tune.betas
    tail = settings.generate.tail_events
    trained: dict[float, checkpoint.Checkpoint] = {}
    for strategies in candidates(ctx.settings):
        samples = weigh(accepted, strategies, snapshot.items, tail_events=tail)
        # Only hard negatives touch the model itself: what else is tried shares its training.
        hard = strategies.get("negatives", {"weight": 0.0})["weight"]
        if hard not in trained:
            trained[hard] = _train(
                settings, ctx.writer.scratch, snapshot, vectors, samples, hard=hard
            )
        stored = trained[hard]
        _place(settings, snapshot, vectors, samples, strategies, stored)
        if not trials and snapshot.shop.repeats:
            gamma = _best_gamma(stored, vectors, validation, settings.tune.gammas)
        ranker = ModelRanker(stored, vectors, beta=0.0, gamma=gamma)
        trials.append(Trial(strategies, validation.judge(ranker, betas)))
        betas = (best_beta(trials[0], settings.tune.betas),)  # the control's choice, for all
    return trials, gamma


def _best_gamma(
    stored: checkpoint.Checkpoint, vectors: Any, validation: Validation, gammas: tuple[float, ...]
) -> float:
    """The weight of the user's own items with the control's best overall NDCG@10."""
    found = {
        gamma: validation.judge(ModelRanker(stored, vectors, beta=0.0, gamma=gamma), (0.0,))[0.0]
        for gamma in gammas
    }
    # A sum orders as a mean does, and is there for no users as well.
    return max(gammas, key=lambda gamma: (float(found[gamma]["overall"].sum()), -gamma))


def candidates(settings: Settings) -> list[dict[str, dict[str, Any]]]:
    """Recipes to try, the control (no samples) first."""
    wanted = [s for s in settings.generate.strategies if s in TUNABLE]
    off: dict[str, dict[str, Any]] = {name: {"weight": 0.0} for name in wanted}
    tried = [off]
    if "text_neighbours" in wanted:
        tried += [
            off | {"text_neighbours": {"weight": weight, "scope": scope}}
            for scope in settings.tune.scopes
            for weight in settings.tune.weights
        ]
    if "negatives" in wanted:
        tried.append(off | {"negatives": {"weight": 1.0}})
    return tried


def _train(
    settings: Settings,
    scratch: Path,
    snapshot: Snapshot,
    vectors: Any,
    samples: pl.DataFrame,
    *,
    hard: float,
) -> checkpoint.Checkpoint:
    """A model from nothing, with or without hard negatives."""
    finetune = settings.finetune
    stored = checkpoint.fresh(
        finetune.model, vectors, snapshot.items["item_id"].to_list(), seed=_SEED
    )
    train_model(
        settings,
        scratch,
        stored.model,
        IdDeltas(stored.deltas),
        torch.from_numpy(stored.features(vectors)),
        training_set(snapshot, samples, max_length=finetune.model.max_length),
        Plan(
            settings.tune.steps,
            finetune.learning_rate,
            finetune.batch,
            finetune.negatives,
            _SEED,
            label="tune with hard negatives" if hard else "tune the control",
        ),
    )
    return stored


def _place(
    settings: Settings,
    snapshot: Snapshot,
    vectors: Any,
    samples: pl.DataFrame,
    strategies: dict[str, dict[str, Any]],
    stored: checkpoint.Checkpoint,
) -> None:
    """Fit one candidate's sample deltas on a trained model."""
    length = settings.finetune.model.max_length
    chosen = strategies.get("text_neighbours", {})
    fit_sample_deltas(
        stored,
        torch.from_numpy(stored.features(vectors)),
        Windows.cover(snapshot.histories, length),
        sample_rows(snapshot, samples, max_length=length),
        steps=settings.finetune.sample_steps,
        rate=settings.finetune.learning_rate,
        seed=_SEED,
        label=f"tune {chosen.get('scope', 'no')} samples, weight {chosen.get('weight')}",
    )
