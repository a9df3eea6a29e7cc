"""Negatives: this user would not take this item."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, is_true
from nightshift.inspection.suites import behaviour, common
from nightshift.settings import InspectionSettings


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of behaviour, and whether a pseudo-interaction of tonight says the opposite."""
    return behaviour.features(samples, facts, settings).with_columns(not_claimed=~pl.col("claimed"))


def rules(settings: InspectionSettings) -> Rules:
    return (
        *behaviour.rules(settings),
        *common.label(0.0),
        *is_true("contradicts_interaction", "not_claimed", "no interaction of the same pair"),
    )


SUITE = Suite(kind="negative", features=features, rules=rules)
