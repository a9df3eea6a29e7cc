"""The form says what the settings say, and overrides only what was changed."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from nightshift.generate.strategies import strategy_names
from nightshift.settings import Settings
from nightshift_airflow.params import FORM, night_form, overrides


def test_the_form_has_the_fields_that_the_resolver_knows() -> None:
    assert tuple(night_form(Settings.load())) == FORM


def test_an_untouched_form_is_valid_and_overrides_nothing() -> None:
    form = {name: param.resolve() for name, param in night_form(Settings.load()).items()}

    assert list(overrides(form)) == []


def test_defaults_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_GENERATE__STRATEGIES", '["negatives", "my_own"]')
    monkeypatch.setenv("NIGHTSHIFT_GENERATE__BUDGET__SAMPLES", "1234")

    form = night_form(Settings.load())

    assert form["strategies"].value == ["negatives", "my_own"]
    assert "my_own" in form["strategies"].schema["examples"]
    assert "1,234" in str(form["sample_budget"].description)
    assert list(overrides({"strategies": ["negatives", "my_own"]})) == []


def test_the_form_offers_every_strategy_and_all_of_them_and_no_knob_of_any() -> None:
    form = night_form(Settings.load())

    offered = form["strategies"].schema["items"]["enum"]
    assert offered[0] == "all"
    assert set(strategy_names()) <= set(offered)
    whole = json.dumps({name: param.schema for name, param in form.items()})
    assert "max_new_tokens" not in whole
    assert len(whole) < 5000  # it is stored with every version of the DAG


@pytest.mark.parametrize(
    ("field", "value", "path", "expected"),
    [
        ("strategies", ["negatives"], "generate.strategies", ("negatives",)),
        ("samples_off", True, "generate.strategies", ()),
        ("sample_budget", 0, "generate.budget.samples", 0),
        ("token_budget", 77, "generate.budget.tokens", 77),
        ("seconds_budget", 1.5, "generate.budget.seconds", 1.5),
        ("money_budget", 2.5, "generate.budget.money", 2.5),
        ("strategies", ["all"], "generate.strategies", tuple(strategy_names())),
        ("engine", "transformers", "generate.engine.name", "transformers"),
        ("seed", 5, "generate.seed", 5),
        ("seed", 5, "finetune.seeds", (5,)),
    ],
)
def test_a_field_becomes_a_setting(field: str, value: object, path: str, expected: object) -> None:
    from nightshift.night import Night
    from nightshift_airflow.resolver import Run

    sets = tuple(overrides({field: value}))
    found: object = Run(Night.parse("2017-11-20"), sets=sets).settings()
    for name in path.split("."):
        found = getattr(found, name)

    assert found == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("night", "20 November"),
        ("night", "2017-11-20/"),
        ("strategies", ["no_such_strategy"]),
        ("sample_budget", -1),
        ("seconds_budget", 0),  # the limit of the setting itself
        ("money_budget", -1),
        ("engine", "gpt"),
        ("seed", "three"),
        ("dry_run", "yes"),
    ],
)
def test_the_form_refuses_what_makes_no_sense(field: str, value: object) -> None:
    form = ParamsDict(night_form(Settings.load()))
    form[field] = form[field]  # as it is: valid

    with pytest.raises(ParamValidationError, match=f"Invalid input for param {field}"):
        form[field] = value
