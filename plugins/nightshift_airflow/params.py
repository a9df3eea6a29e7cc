"""The form of a night: what a person may ask for, and which settings that overrides.

Types, limits, choices and meanings come from the schema of the settings, so the form never says
something else than `nightshift settings`. An empty field leaves the setting as it is: a scheduled
night passes none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from airflow.sdk import Param
from pydantic import create_model

from nightshift.generate.strategies import strategy_names
from nightshift.settings import GenerateSettings, Settings
from nightshift.settings.generate import ALL

NIGHT_PATTERN = r"^\s*(\d{4}-\d{2}-\d{2}[^/]*(/\d{4}-\d{2}-\d{2}[^/]*)?)?$"

OVERRIDES = {
    "engine": ("Language model engine", "generate.engine.name"),
    "sample_budget": ("Sample budget", "generate.budget.samples"),
    "token_budget": ("Token budget", "generate.budget.tokens"),
    "seconds_budget": ("Time budget", "generate.budget.seconds"),
    "money_budget": ("Money budget", "generate.budget.money"),
    "seed": ("Seed (of training, too)", "generate.seed"),
}
"""Field of the form: its title, and the setting that it stands for."""
FORM = ("night", "first_night", "first_date", "strategies", "samples_off", *OVERRIDES, "dry_run")
AS_SET = "as in the settings"
_LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "pattern")


NIGHT_PARAM = Param(
    None,
    type=["string", "null"],
    pattern=NIGHT_PATTERN,
    title="Night",
    description="A date (2017-11-20); empty: the newest night that was scored.",
)
"""The field of DAGs that come after a night."""


def night_form(settings: Settings) -> dict[str, Param]:
    """The form of `nightly`, filled with the settings of this installation."""
    return {
        "night": Param(
            None,
            type=["string", "null"],
            pattern=NIGHT_PATTERN,
            title="Night",
            description="A date (2017-11-20), or start/end for one longer night "
            "(2017-11-20/2017-11-27). UTC. A scheduled run takes its own interval; for several "
            "nights there is the DAG nightly_range.",
        ),
        **what_form(settings),
    }


def what_form(settings: Settings) -> dict[str, Param]:
    """The part of the form that is not the date."""
    known = _strategies(settings.generate)
    return {
        "first_night": Param(
            False,
            type="boolean",
            title="First night",
            description="Learn from the history alone, not from the state of the night before.",
        ),
        "first_date": Param(
            None,
            type=["string", "null"],
            format="date",
            title="Date of the first night",
            description="For several nights at once, such as a backfill: which one is the first.",
        ),
        "strategies": Param(
            list(settings.generate.strategies),
            type="array",
            items={"type": "string", "enum": known},
            examples=known,
            title="Strategies",
            description=f"Ways of making samples tonight; {ALL}: every one that is registered.",
        ),
        "samples_off": Param(
            False,
            type="boolean",
            title="Samples off",
            description="Make no samples tonight: both lines learn from real events alone.",
        ),
        **{name: _from_schema(settings, *of) for name, of in OVERRIDES.items()},
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Stop after the plan and show what the night would make and cost.",
        ),
    }


def _from_schema(settings: Settings, title: str, path: str) -> Param:
    """A field for one setting: empty, or a value that the setting's own schema allows."""
    schema = _schema_at(path)
    now: Any = settings
    for name in path.split("."):
        now = getattr(now, name)
    shown = f"{now:,}" if isinstance(now, int | float) else now or "none"
    meaning = f"{schema['description'].capitalize()}. "
    if "enum" in schema:  # a drop-down has no empty entry
        choices = [AS_SET, *schema["enum"]]
        as_set = f"{meaning}The settings say {shown}."
        return Param(AS_SET, type="string", enum=choices, title=title, description=as_set)
    return Param(
        None,
        type=[schema["type"], "null"],
        title=title,
        description=f"{meaning}Empty: as in the settings ({shown}).",
        **{limit: schema[limit] for limit in _LIMITS if limit in schema},
    )


@cache
def _schema_at(path: str) -> dict[str, Any]:
    """The JSON schema of one setting, such as `generate.budget.tokens`.

    Of that field alone, and once: every parse of a DAG file asks for it, and the whole tree's takes
    longer than all else that a parse does.
    """
    model: Any = Settings
    *sections, last = path.split(".")
    for name in sections:
        model = model.model_fields[name].annotation
    field = model.model_fields[last]
    fields: dict[str, Any] = {last: (field.annotation, field)}
    one = create_model("One", **fields)
    found: dict[str, Any] = one.model_json_schema()["properties"][last]
    if "anyOf" in found:  # a setting that may be empty
        found = found | next(each for each in found["anyOf"] if each["type"] != "null")
    return found


def _strategies(generate: GenerateSettings) -> list[str]:
    """All of them in one word, those that are registered, those that the settings name."""
    return list(dict.fromkeys([ALL, *strategy_names(), *generate.strategies]))


def overrides(params: Mapping[str, Any]) -> Iterator[str]:
    """The form as assignments for `--set`; fields that are as the settings say are left out."""
    strategies = params.get("strategies")
    if params.get("samples_off"):
        yield "generate.strategies=[]"
    elif strategies is not None and tuple(strategies) != Settings.load().generate.strategies:
        yield f"generate.strategies={json.dumps(list(strategies))}"
    for name, (_, path) in OVERRIDES.items():
        if params.get(name) not in (None, AS_SET):
            yield f"{path}={params[name]}"
    if params.get("seed") is not None:  # of training as well as of generating
        yield f"finetune.seeds=[{params['seed']}]"
