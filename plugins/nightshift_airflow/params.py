"""The form of a night: what a person may ask for, and which settings that overrides.

Defaults and meanings come from the settings tree, so the form never says something else than
`nightshift settings`. An empty field leaves the setting as it is: a scheduled night passes none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import Param

from nightshift.settings import GenerateSettings, Settings

_NIGHT = r"^\s*(\d{4}-\d{2}-\d{2}[^/]*(/\d{4}-\d{2}-\d{2}[^/]*)?)?$"

FORM = (
    "night",
    "first_night",
    "strategies",
    "samples_off",
    "sample_budget",
    "token_budget",
    "seed",
    "dry_run",
)


def night_form(settings: Settings) -> dict[str, Param]:
    """The form of `nightly`, filled with the settings of this installation."""
    return {
        "night": Param(
            None,
            type=["string", "null"],
            pattern=_NIGHT,
            title="Night",
            description="A date (2017-11-20), or start/end for one longer night "
            "(2017-11-20/2017-11-27). UTC. A scheduled run takes its own interval.",
        ),
        **what_form(settings),
    }


def what_form(settings: Settings) -> dict[str, Param]:
    """The part of the form that is not the date."""
    generate = settings.generate
    return {
        "first_night": Param(
            False,
            type=["boolean", "string", "null"],
            title="First night",
            description="Learn from the history alone, not from the state of the night before. "
            "In a backfill: the date of its first night.",
        ),
        "strategies": Param(
            list(generate.strategies),
            type="array",
            items={"type": "string", "enum": _strategies(generate)},
            examples=_strategies(generate),
            title="Strategies",
            description="Ways of making samples tonight.",
        ),
        "samples_off": Param(
            False,
            type="boolean",
            title="Samples off",
            description="Make no samples tonight: both lines learn from real events alone.",
        ),
        "sample_budget": _number(
            "Sample budget", "Samples to make at most", generate.budget.samples
        ),
        "token_budget": _number(
            "Token budget", "Tokens to generate at most", generate.budget.tokens
        ),
        "seed": _number(
            "Seed", "Seed of generating and of training", f"{generate.seed}, training its own"
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Stop after the plan and show what the night would make and cost.",
        ),
    }


def _number(title: str, meaning: str, now: int | str) -> Param:
    shown = f"{now:,}" if isinstance(now, int) else now
    return Param(
        None,
        type=["integer", "null"],
        minimum=0,
        title=title,
        description=f"{meaning}. Empty: as in the settings ({shown}).",
    )


def _strategies(generate: GenerateSettings) -> list[str]:
    shipped = GenerateSettings.model_fields["strategies"].default
    return list(dict.fromkeys([*shipped, *generate.strategies]))


def overrides(params: Mapping[str, Any]) -> Iterator[str]:
    """The form as assignments for `--set`; fields that are as the settings say are left out."""
    strategies = params.get("strategies")
    if params.get("samples_off"):
        yield "generate.strategies=[]"
    elif strategies is not None and tuple(strategies) != Settings.load().generate.strategies:
        yield f"generate.strategies={json.dumps(list(strategies))}"
    if params.get("sample_budget") is not None:
        yield f"generate.budget.samples={params['sample_budget']}"
    if params.get("token_budget") is not None:
        yield f"generate.budget.tokens={params['token_budget']}"
    if params.get("seed") is not None:
        yield f"generate.seed={params['seed']}"
        yield f"finetune.seeds=[{params['seed']}]"
