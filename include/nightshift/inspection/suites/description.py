"""Descriptions: the item's own facts, all of them, in more or other words."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.grounding import lost
from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, is_null
from nightshift.inspection.suites import common, prose
from nightshift.settings import InspectionSettings


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of prose, and the facts of the title that are gone."""
    found = prose.features(samples, facts, settings)
    return found.with_columns(lost(found["head"], found["title"]))


def rules(settings: InspectionSettings) -> Rules:
    return (
        *prose.rules(settings),
        *common.label(1.0),
        is_null("lost_fact", "lost", "every number, unit and attribute of the title is there"),
    )


SUITE = Suite(kind="description", features=features, rules=rules, has_text=True)
