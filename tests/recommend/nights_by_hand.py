"""Whole nights of a hand-made shop: trained, refreshed, handed on. No Postgres, no encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from factories import commit
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.recommend.finetune import run as finetune
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.refresh import run as refresh
from nightshift.settings import Settings
from nightshift.snapshot import read_vectors
from nightshift.stages import STAGES, StageContext, arm_input
from shop_by_hand import (
    NIGHT,
    events,
    histories,
    samples,
    settings_for,
    unit_vectors,
    write_blend,
    write_morning,
    write_recipe,
    write_snapshot,
    write_vectors,
)

ITEMS = [f"i{code:02}" for code in range(20)]
RECIPE = {"beta": {"control": 0.0, "challenger": 0.0}, "gamma": 0.0, "strategies": {}}
VERDICT = {"decision": "promoted", "reasons": ["It is better."], "pooled_nights": 3}
DAY = timedelta(days=1)


def later(days: int) -> Night:
    return Night(NIGHT.start + days * DAY, NIGHT.end + days * DAY)


def pairs(first: str, then: str, users: int, name: str = "u") -> dict[str, list[str]]:
    """Users who all do the same two things."""
    return {f"{name}{number:03}": [first, then] for number in range(users)}


def wandering(users: int, *, name: str = "u", seed: int = 0) -> dict[str, list[str]]:
    """Users without any pattern."""
    rng = np.random.default_rng(seed)
    return {
        f"{name}{number:03}": [ITEMS[i] for i in rng.integers(0, len(ITEMS), 5)]
        for number in range(users)
    }


@dataclass
class Shop:
    """A lake with what the stages before have written, by hand."""

    settings: Settings
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.lake = Lake.of(self.settings)

    @classmethod
    def at(cls, folder: Path, **tree: Any) -> Shop:
        return cls(settings_for(folder, **tree))

    def before(
        self,
        past: pl.DataFrame,
        *,
        night: Night = NIGHT,
        arms: Mapping[str, pl.DataFrame] | None = None,
        recipe: Mapping[str, Any] = RECIPE,
        **shop: Any,
    ) -> dict[str, Manifest]:
        """Snapshot, vectors, recipe and blend of a night."""
        chosen = {"control": samples(), "challenger": samples()} if arms is None else arms
        return {
            "snapshot": write_snapshot(self.lake, self.settings, past, ITEMS, night=night, **shop),
            "vectors": write_vectors(
                self.lake, self.settings, unit_vectors(len(ITEMS)), night=night
            ),
            "recipe": write_recipe(self.lake, self.settings, recipe, night=night),
            "blend": write_blend(self.lake, self.settings, chosen, night=night),
        }

    def finetune(
        self, inputs: dict[str, Manifest], *arms: str, night: Night = NIGHT
    ) -> dict[str, Manifest]:
        """The models of these arms, by the names under which later stages read them."""
        return {
            arm_input(arm, 0): commit(
                self.lake,
                self.settings,
                night,
                STAGES["finetune"],
                finetune,
                inputs,
                {"arm": arm, "seed": "0"},
            )
            for arm in arms or ("control", "challenger")
        }

    def refresh(
        self,
        inputs: dict[str, Manifest],
        models: dict[str, Manifest],
        inside: pl.DataFrame,
        *,
        night: Night = NIGHT,
        live_line: str = "blend",
        pooled: Sequence[Mapping[str, Any]] = (),
    ) -> Manifest:
        """The state after the night."""
        verdict = self._judged("promote", "verdict.json", VERDICT | {"live_line": live_line}, night)
        evaluation = self._judged("evaluate", "pooled.json", list(pooled), night)
        morning = write_morning(self.lake, self.settings, inside, night=night)
        judged = {"verdict": verdict, "evaluation": evaluation}
        everything = inputs | models | judged | {"morning": morning}
        return commit(self.lake, self.settings, night, STAGES["refresh"], refresh, everything)

    def _judged(self, stage: str, name: str, body: Any, night: Night) -> Manifest:
        def run(ctx: StageContext) -> dict[str, Any]:
            ctx.writer.write_json(name, body)
            return dict(body) if isinstance(body, dict) else {}

        return commit(self.lake, self.settings, night, STAGES[stage], run)

    def model(self, manifest: Manifest, prefix: str = "") -> Checkpoint:
        return checkpoint.load(self.lake, manifest, ITEMS, prefix=prefix)

    def rank_of(
        self, inputs: dict[str, Manifest], model: Manifest, item: str, *, after: str, prefix: str
    ) -> int:
        """The place of an item in what is recommended after another; 0 is first."""
        vectors = read_vectors(self.lake, inputs["vectors"])
        scores = ModelRanker(self.model(model, prefix), vectors, beta=0.0).scores(
            histories([[ITEMS.index(after)]])
        )[0]
        return int((scores > scores[ITEMS.index(item)]).sum())


def past_events(lists: Mapping[str, list[str]], *, days: float = 10) -> pl.DataFrame:
    return events(lists, NIGHT.start - timedelta(days=days))


def night_events(lists: Mapping[str, list[str]], night: Night = NIGHT) -> pl.DataFrame:
    return events(lists, night.start + timedelta(hours=1))
