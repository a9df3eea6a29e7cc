"""What `tune` tries: who uses which kind of sample, and the weights worth a trial.

A trial switches one strategy on. Strategies whose samples are used in the same place stand in one
group; of each group the recipe takes the best at most, and what it takes of several is tried once
more together (`recipe.choose`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from nightshift.generate.strategies import produced_kind
from nightshift.night import Night
from nightshift.settings import Budget, Settings

Strategies = dict[str, dict[str, Any]]

PLACED, TRAINED, WORDED, PROFILED = "behaviour", "sequences", "item texts", "profiles"
GROUPS = {  # kind -> what uses it; any other kind does not touch the ranking of items
    "interaction": PLACED,
    "negative": PLACED,
    "sequence": TRAINED,
    "review": WORDED,
    "description": WORDED,
    "profile": PROFILED,
}
TRAINS = ("negative", "sequence")
"""Kinds that take part in training; what else is tried shares a trained model."""
PLACEBOS = ("random_pairs", "upsample")
"""Strategies that are tried to compare the others with: a recipe never takes one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe to try."""

    strategies: Strategies
    tries: tuple[str, ...] = ()
    """The strategies that it switches on; none: the control."""
    group: str = ""


def kinds(settings: Settings) -> dict[str, str]:
    """What each strategy of the night makes.

    Raises:
        SettingsError: `generate.strategies` names a strategy that does not exist.
    """
    return {name: produced_kind(name) for name in settings.generate.strategies}


def tunable(settings: Settings) -> list[str]:
    """The strategies whose weight is chosen; those that an inner night runs."""
    return [name for name, kind in kinds(settings).items() if kind in GROUPS]


def inner_budget(settings: Settings) -> Budget:
    """What the samples of an inner night may cost, on top of those of the night that tunes.

    Of what is paid for, the share of the settings. Not of the samples: a weight is chosen for so
    many of them, and with half as many it would be chosen for another night.
    """
    whole, share = settings.generate.budget, settings.tune.budget_share
    return Budget(
        samples=whole.samples,
        tokens=int(whole.tokens * share),
        seconds=whole.seconds * share,
        money=None if whole.money is None else whole.money * share,
    )


def candidates(settings: Settings) -> list[Candidate]:
    """Recipes to try, the control (no samples) first."""
    made = {name: kind for name, kind in kinds(settings).items() if kind in GROUPS}
    off: Strategies = {name: {"weight": 0.0} for name in made}
    return [
        Candidate(off),
        *(
            Candidate(off | {name: chosen}, (name,), GROUPS[kind])
            for name, kind in made.items()
            for chosen in _choices(kind, settings)
        ),
    ]


def _choices(kind: str, settings: Settings) -> list[dict[str, Any]]:
    tune = settings.tune
    if kind in ("interaction", "review", "description"):
        weights = tune.weights if kind == "interaction" else tune.text_weights
        return [{"weight": w, "scope": scope} for scope, w in product(tune.scopes, weights)]
    plain = {"negative": (1.0,), "sequence": tune.sequence_weights, "profile": tune.profile_weights}
    return [{"weight": weight} for weight in plain[kind]]


def together(winners: list[Candidate]) -> Candidate:
    """Everything that the winners of several groups switch on."""
    strategies, tries = dict(winners[0].strategies), list[str]()
    for winner in winners:
        strategies |= {name: winner.strategies[name] for name in winner.tries}
        tries += winner.tries
    return Candidate(strategies, tuple(tries), "together")


def models(night: Night, settings: Settings) -> dict[str, Any] | None:
    """The models that an inner night's samples are written by; None without any."""
    from nightshift.generate.fingerprint import models as digests

    names = tunable(settings)
    return digests(night, settings.with_({"generate": {"strategies": names}}))
