"""Pseudo-interactions: this user, after this context, would take this item."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.json_object import number
from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, between
from nightshift.inspection.suites import behaviour, common
from nightshift.settings import InspectionSettings

_MAX_SIMILARITY = 1.01
"""A cosine of half-precision vectors; what is above is none."""


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of behaviour, and the similarity that the strategy claims."""
    return behaviour.features(samples, facts, settings).with_columns(
        similarity=number(pl.col("scores"), "similarity").round(4),
    )


def rules(settings: InspectionSettings) -> Rules:
    return (
        *behaviour.rules(settings),
        *common.label(1.0),
        # A strategy that does not go by similarity (a sequence model, say) claims none.
        between(
            "low_relevance",
            "similarity",
            settings.min_relevance,
            _MAX_SIMILARITY,
            "near an item that the user took",
        ),
    )


SUITE = Suite(kind="interaction", features=features, rules=rules)
