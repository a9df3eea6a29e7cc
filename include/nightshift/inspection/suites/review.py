"""Reviews: what a customer with this rating would say of the item."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.sentiments import agreement
from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, is_true
from nightshift.inspection.suites import common, prose
from nightshift.settings import InspectionSettings

_RATINGS = (1.0, 2.0, 3.0, 4.0, 5.0)


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of prose, and whether the words fit the rating."""
    found = prose.features(samples, facts, settings)
    return found.with_columns(agreement(found["head"], found["label"]))


def rules(settings: InspectionSettings) -> Rules:
    return (
        *prose.rules(settings),
        *common.label(*_RATINGS),
        *is_true(
            "wrong_sentiment", "sentiment_agrees", "it does not say the opposite of its stars"
        ),
    )


SUITE = Suite(kind="review", features=features, rules=rules, has_text=True)
