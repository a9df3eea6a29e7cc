"""The arms of a night: tonight's models, what was live before them, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.evaluate.baselines import baselines
from nightshift.manifest import Manifest
from nightshift.ranking import Ranker
from nightshift.recommend.ranker import load
from nightshift.snapshot import Snapshot
from nightshift.stages import CHALLENGER, LINE_OF_ARM, StageContext, arm_input

CHAMPION = "champion"
"""What is live when the night starts: the parent state of the live line."""
UNREFRESHED = "unrefreshed"
"""The champion before it took in its last night's events: shows what `refresh` was worth."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One ranker to judge. `seed` is None for a baseline."""

    name: str
    seed: int | None
    ranker: Ranker


def arms(
    ctx: StageContext, snapshot: Snapshot, vectors: npt.NDArray[np.float32], recipe: dict[str, Any]
) -> Iterator[Arm]:
    """Every arm of the night, loaded one at a time: only one model is in memory."""
    yield from _tonight(ctx, snapshot, vectors, recipe)
    yield from _live(ctx, snapshot, vectors, recipe)
    for name, ranker in baselines(snapshot, vectors):
        yield Arm(name, None, ranker)


def _tonight(
    ctx: StageContext, snapshot: Snapshot, vectors: npt.NDArray[np.float32], recipe: dict[str, Any]
) -> Iterator[Arm]:
    """Control, challenger and placebos, every seed."""
    for name in ctx.inputs["blend"].stats["arms"]:
        for seed in ctx.settings.finetune.seeds:
            model = ctx.inputs[arm_input(name, seed)]
            yield Arm(name, seed, _loader(ctx, snapshot, vectors, recipe, name)(model))


def _live(
    ctx: StageContext, snapshot: Snapshot, vectors: npt.NDArray[np.float32], recipe: dict[str, Any]
) -> Iterator[Arm]:
    """The champion as it is served now, and as it was before its last refresh."""
    parent = ctx.inputs.get("parent")
    if parent is None:
        return
    line = parent.stats["live_line"]
    arm = next(name for name, of in LINE_OF_ARM.items() if of == line)
    seed = int(ctx.settings.finetune.seeds[0])
    served = _recipe_of(ctx, parent) or recipe
    ranker = _loader(ctx, snapshot, vectors, served, arm)
    yield Arm(CHAMPION, seed, ranker(parent, f"{line}/"))
    before = next(
        (ref for name, ref in parent.inputs.items() if name.startswith(f"arm:{arm}:")), None
    )
    model = before and ctx.lake.at_key(before.dataset, before.partition, before.key)
    if model:  # gone when the lake's retention took it: the champion alone is what decides
        yield Arm(UNREFRESHED, seed, ranker(model))


def _loader(
    ctx: StageContext,
    snapshot: Snapshot,
    vectors: npt.NDArray[np.float32],
    recipe: dict[str, Any],
    arm: str,
) -> Callable[..., Ranker]:
    """`(manifest, prefix) -> Ranker` for tonight's catalogue."""
    ids = snapshot.items["item_id"].to_list()
    users = snapshot.users["user_key"].to_list()
    beta, gamma = beta_of(recipe, arm), float(recipe["gamma"])

    def ranker(manifest: Manifest, prefix: str = "") -> Ranker:
        return load(
            ctx.lake,
            manifest,
            item_ids=ids,
            vectors=vectors,
            beta=beta,
            gamma=gamma,
            lean=float(recipe.get("lean", 0.0)),
            events=snapshot.item_events,
            catalogue=snapshot.items,
            user_keys=users,
            prefix=prefix,
        )

    return ranker


def _recipe_of(ctx: StageContext, state: Manifest) -> dict[str, Any] | None:
    """The recipe with which a state was served."""
    ref = state.inputs["recipe"]
    manifest = ctx.lake.at_key(ref.dataset, ref.partition, ref.key)
    if manifest is None:
        return None
    recipe: dict[str, Any] = ctx.lake.read_json(manifest, "recipe.json")
    return recipe


def beta_of(recipe: dict[str, Any], arm: str) -> float:
    """The serve-time text blend of an arm; a placebo, which stands in for the samples, is served
    like the challenger.
    """
    betas = recipe["beta"]
    return float(betas.get(arm, betas[CHALLENGER]))
