"""Choosing a recipe from trials: pure functions over what validation showed.

First what the model is served with, on the control alone: by overall NDCG@10 the weight γ of the
user's own items (where the shop repeats), φ of what followed the last items, and how far items with
few events lean on their neighbours, one after the other; then the text blend β, by Recall@10 on
cold items among those that cost less than `max_loss` overall. Then the samples, every trial at
that same β, so that a lift is their doing. The rule is the verdict's: of the trials that, with
95 % confidence, cost no more than `max_loss` overall and on warm items and gain on cold items or
overall, the one with the highest Recall@10 on cold items (of equals, the best overall). Without
any, the weight is zero. Where several groups of strategies have such a trial, their best are tried
together: the recipe takes them all if that is allowed too and loses nothing to the best alone.

Placebos are tried like any other and never taken: every trial says what it adds over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.intervals import paired_bootstrap
from nightshift.manifest import digest_of
from nightshift.recommend.choosing.candidates import PLACEBOS
from nightshift.settings import TuneSettings

Floats = npt.NDArray[np.float64]
_RESAMPLES, _SEED = 2000, 17
_SLICES = ("overall", "warm", "cold")


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe tried, and what each user of the inner split gave under it."""

    strategies: dict[str, dict[str, Any]]
    figures: dict[float, dict[str, Floats]] = field(repr=False)
    """By β: `overall`, `warm` (NDCG@10) and `cold` (Recall@10), one value per user in the slice."""
    tries: tuple[str, ...] = ()
    """The strategies that it switches on."""
    group: str = ""
    """What uses their samples: of a group a recipe takes one trial at most."""

    @property
    def placebo(self) -> bool:
        return bool(self.tries) and self.tries[0] in PLACEBOS

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
    kinds: dict[str, str] = field(default_factory=dict)
    """What each strategy makes."""
    history: float = 0.0
    """What is recommended to a customer, in what the customer searches."""
    lean: float = 0.0
    """How far an item with few events is ranked where its text neighbours are."""
    follow: float = 0.0
    """The weight of what followed a customer's last items."""

    @property
    def recipe_id(self) -> str:
        """Equal recipes have equal ids, whenever they were tuned: verdicts pool by it."""
        further: list[Any] = [self.history] if self.history or self.lean else []
        further += [self.lean] if self.lean else []
        further += [{"follow": self.follow}] if self.follow else []
        return digest_of([self.beta, self.gamma, self.strategies, *further])[:12]

    def as_json(self) -> dict[str, Any]:
        return {"recipe_id": self.recipe_id, **asdict(self)}


def best_beta(control: Trial, settings: TuneSettings) -> float:
    """The β with the best Recall@10 on cold items, of those that cost next to nothing overall.

    Next to nothing is `tune.max_loss` of the best overall NDCG@10. The smallest of equals.
    """
    overall = {beta: control.mean(beta, "overall") for beta in settings.betas}
    least = max(overall.values()) * (1 - settings.max_loss)
    able = [beta for beta in settings.betas if overall[beta] >= least]
    return max(able, key=lambda beta: (control.mean(beta, "cold"), overall[beta], -beta))


def choose(
    control: Trial,
    trials: list[Trial],
    settings: TuneSettings,
    combine: Callable[[list[Trial]], Trial] | None = None,
) -> tuple[float, Trial, str, list[dict[str, Any]]]:
    """β, the chosen trial, the reason, and a row per trial for the report.

    Args:
        combine: tries what the winners of several groups switch on together.
    """
    beta = best_beta(control, settings)
    rows = [_row(trial, control, beta, settings, trials) for trial in trials]
    leaders: dict[str, Trial] = {}
    for trial, row in zip(trials, rows, strict=True):
        if not row["allowed"] or trial.placebo:
            continue
        best = leaders.get(trial.group)
        if best is None or _merit(trial, beta) > _merit(best, beta):
            leaders[trial.group] = trial
    if not leaders:
        why = "no weight above zero gained on cold items or overall without costing too much"
        return beta, control, why, rows
    chosen = max(leaders.values(), key=lambda trial: _merit(trial, beta))
    why = "the best cold-item Recall@10 among the recipes that were allowed"
    if combine is not None and len(leaders) > 1:
        whole = combine(list(leaders.values()))
        row = _row(whole, control, beta, settings, trials)
        rows.append(row)
        if row["allowed"] and not _loses(whole, chosen, beta):
            return beta, whole, "the best allowed of each group, allowed together as well", rows
        why += "; the best of each group together were not allowed, or lost to it"
    return beta, chosen, why, rows


def _merit(trial: Trial, beta: float) -> tuple[float, float]:
    return trial.mean(beta, "cold"), trial.mean(beta, "overall")


def _loses(trial: Trial, other: Trial, beta: float) -> bool:
    """Is it shown to be worse than the other in any slice?"""
    found = _compare(trial, other, beta)
    return any(found[name]["high"] < 0 for name in _SLICES)


def _row(
    trial: Trial, control: Trial, beta: float, settings: TuneSettings, trials: list[Trial]
) -> dict[str, Any]:
    """What a trial showed against the control, and what it adds over each placebo."""
    found = _compare(trial, control, beta)
    allowed = (
        found["overall"]["low"] >= -settings.max_loss
        and found["warm"]["low"] >= -settings.max_loss
        and (found["cold"]["low"] > 0 or found["overall"]["low"] > 0)
    )
    return {
        "strategies": trial.strategies,
        "tries": list(trial.tries),
        "beta": beta,
        **found,
        "allowed": bool(allowed),
        "over": {
            name: _compare(trial, _counterpart(trial, name, trials, beta), beta)
            for name in dict.fromkeys(t.tries[0] for t in trials if t.placebo)
            if not trial.placebo
        },
    }


def _counterpart(trial: Trial, placebo: str, trials: list[Trial], beta: float) -> Trial:
    """The placebo's trial at the same weight and scope; where there is none, its best overall."""
    tried = [other for other in trials if other.tries == (placebo,)]
    wanted = trial.strategies[trial.tries[0]] if trial.tries else None
    same = [other for other in tried if other.strategies[placebo] == wanted]
    return max(same or tried, key=lambda other: other.mean(beta, "overall"))


def _compare(trial: Trial, control: Trial, beta: float) -> dict[str, Any]:
    """Lifts of a trial over the control by slice: relative, or absolute where the control is 0.

    The interval of the difference always exists; that of the ratio does not where the control is 0
    in too many resamples, as it is on cold items. So the bounds are those of the difference then,
    over the control's mean: what is above zero in one is above zero in the other.
    """
    row: dict[str, Any] = {}
    for name in _SLICES:
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
