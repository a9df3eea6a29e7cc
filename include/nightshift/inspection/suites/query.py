"""Search queries: what a customer would type to find the item. One line, in any language."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, is_true
from nightshift.inspection.suites import common, text
from nightshift.settings import InspectionSettings

_MIN_LETTER_SHARE = 0.3  # "4k tv 55" and "16 oz 12 pk" are queries


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of a text."""
    return text.features(samples, facts, settings, max_chars=settings.max_query_chars)


def rules(settings: InspectionSettings) -> Rules:
    return (
        *common.rules(settings),
        *common.of_an_item(),
        *common.label(1.0),
        *is_true("user_unexpected", "no_user", "a query belongs to an item, to no user"),
        *text.rules(
            settings,
            min_chars=1,
            max_chars=settings.max_query_chars,
            min_letter_share=_MIN_LETTER_SHARE,
        ),
    )


SUITE = Suite(kind="query", features=features, rules=rules, has_text=True)
