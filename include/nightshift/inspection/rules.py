"""A rule: one reason to quarantine a row, as data. `expectations` turns it into Great Expectations.

Rules look at feature columns (a count, a flag, the name of what was found), computed in Polars
for all rows at once; whether a row passes is Great Expectations' answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from nightshift.inspection.facts import Facts
from nightshift.inspection.gates import Gate
from nightshift.settings import InspectionSettings


@dataclass(frozen=True, slots=True)
class Rule:
    """`expectation` names a class of Great Expectations, `options` its arguments."""

    reason: str
    column: str
    expectation: str
    because: str
    options: dict[str, Any] = field(default_factory=dict)


Rules = tuple[Rule, ...]


def is_true(reason: str, column: str, because: str) -> Rules:
    """A flag that must hold; null does not."""
    return one_of(reason, column, (True,), because)


def one_of(reason: str, column: str, values: tuple[Any, ...], because: str) -> Rules:
    """A value of a set; null is not in it."""
    options = {"value_set": list(values)}
    return required(Rule(reason, column, "ExpectColumnValuesToBeInSet", because, options))


def not_null(reason: str, column: str, because: str) -> Rule:
    return Rule(reason, column, "ExpectColumnValuesToNotBeNull", because)


def is_null(reason: str, column: str, because: str) -> Rule:
    """Nothing was found: the column names what, where there was something."""
    return Rule(reason, column, "ExpectColumnValuesToBeNull", because)


def between(
    reason: str, column: str, low: float, high: float, because: str, *, open_low: bool = False
) -> Rule:
    """`low <= value <= high` (`low < value` with `open_low`); null was not measured, and passes."""
    bounds = {"min_value": low, "max_value": high, "strict_min": open_low}
    return Rule(reason, column, "ExpectColumnValuesToBeBetween", because, bounds)


def required(rule: Rule) -> Rules:
    """The rule, and null does not pass it."""
    return (not_null(rule.reason, rule.column, rule.because), rule)


@dataclass(frozen=True, slots=True)
class Suite:
    """What one kind of sample must satisfy: its features, and the rules over them."""

    kind: str
    features: Callable[[pl.DataFrame, Facts, InspectionSettings], pl.DataFrame]
    """Samples with codes -> the same rows with the feature columns added."""
    rules: Callable[[InspectionSettings], Rules]
    has_text: bool = False
    gates: Callable[[pl.DataFrame, Facts, InspectionSettings], list[Gate]] | None = None
    """Gates of this kind besides those of every kind, over the rows that passed every rule."""
