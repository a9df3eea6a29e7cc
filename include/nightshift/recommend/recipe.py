"""Choosing a recipe from trials: pure functions over what validation showed.

First what the model is served with, on the control alone and by overall NDCG@10: the weight γ of
the user's own items (where the shop repeats), then the text blend β. Then the samples, every trial
at that same β, so that a lift is their doing. The rule is the verdict's: of the trials that, with
95 % confidence, cost no more than `max_loss` overall and on warm items and gain on cold items or
overall, the one with the highest Recall@10 on cold items (of equals, the best overall). Without
any, the weight is zero.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.intervals import paired_bootstrap
from nightshift.manifest import digest_of
from nightshift.settings import TuneSettings

Floats = npt.NDArray[np.float64]
_RESAMPLES, _SEED = 2000, 17


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe tried, and what each user of the inner split gave under it."""

    strategies: dict[str, dict[str, Any]]
    figures: dict[float, dict[str, Floats]] = field(repr=False)
    """By β: `overall`, `warm` (NDCG@10) and `cold` (Recall@10), one value per user in the slice."""

    def mean(self, beta: float, name: str) -> float:
        values = self.figures[beta][name]
        return float(values.mean()) if len(values) else 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a night's blend, ranking and verdict follow."""

    tuned_as_of: str
    beta: dict[str, float]
    gamma: float
    strategies: dict[str, dict[str, Any]]
    why: str

    @property
    def recipe_id(self) -> str:
        """Equal recipes have equal ids, whenever they were tuned: verdicts pool by it."""
        return digest_of([self.beta, self.gamma, self.strategies])[:12]

    def as_json(self) -> dict[str, Any]:
        return {"recipe_id": self.recipe_id, **asdict(self)}


def best_beta(control: Trial, betas: tuple[float, ...]) -> float:
    """The β with the control's best overall NDCG@10; the smallest of equals."""
    return max(betas, key=lambda beta: (control.mean(beta, "overall"), -beta))


def choose(
    control: Trial, trials: list[Trial], settings: TuneSettings
) -> tuple[float, Trial, str, list[dict[str, Any]]]:
    """β, the chosen trial, the reason, and a row per trial for the report."""
    beta = best_beta(control, settings.betas)
    rows: list[dict[str, Any]] = []
    allowed: list[tuple[float, float, int, Trial]] = []
    for trial in trials:
        row = _compare(trial, control, beta)
        row["allowed"] = bool(
            row["overall"]["low"] >= -settings.max_loss
            and row["warm"]["low"] >= -settings.max_loss
            and (row["cold"]["low"] > 0 or row["overall"]["low"] > 0)
        )
        rows.append(row)
        if row["allowed"]:
            merit = (trial.mean(beta, "cold"), trial.mean(beta, "overall"), -len(allowed))
            allowed.append((*merit, trial))
    if not allowed:
        why = "no weight above zero gained on cold items or overall without costing too much"
        return beta, control, why, rows
    chosen = max(allowed, key=lambda entry: entry[:3])[3]
    return beta, chosen, "the best cold-item Recall@10 among the recipes that were allowed", rows


def _compare(trial: Trial, control: Trial, beta: float) -> dict[str, Any]:
    """Lifts of a trial over the control by slice: relative, or absolute where the control is 0.

    The interval of the difference always exists; that of the ratio does not where the control is 0
    in too many resamples, as it is on cold items. So the bounds are those of the difference then,
    over the control's mean: what is above zero in one is above zero in the other.
    """
    row: dict[str, Any] = {"strategies": trial.strategies, "beta": beta}
    for name in ("overall", "warm", "cold"):
        ours, base = trial.figures[beta][name], control.figures[beta][name]
        if len(ours) < 2:
            gain = float((ours - base).sum())
            row[name] = {"relative": gain, "low": min(gain, 0.0), "high": gain, "n": len(ours)}
            continue
        found = paired_bootstrap(ours - base, base, resamples=_RESAMPLES, seed=_SEED)
        scale = float(base.mean()) or 1.0
        bounded = found.low is not None and found.high is not None
        row[name] = {
            "value": found.value,
            "relative": found.value / scale if found.relative is None else found.relative,
            "low": found.low if bounded else found.value_low / scale,
            "high": found.high if bounded else found.value_high / scale,
            "n": found.n,
        }
    return row
