"""Advertisements: one line that sells the item without claiming what the shop does not."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.claims import claims
from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, Suite, between, is_null
from nightshift.inspection.suites import common, prose
from nightshift.settings import InspectionSettings

_MAX_CHARS = 160
"""One line of an advertisement."""


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of prose, and the claims it makes."""
    found = prose.features(samples, facts, settings)
    return found.with_columns(claims(found["head"], found["title"], found["item_text"]))


def rules(settings: InspectionSettings) -> Rules:
    return (
        *prose.rules(settings),
        *common.label(1.0),
        between("too_long_for_a_line", "text_chars", 0, _MAX_CHARS, "one line"),
        is_null("forbidden_claim", "claim", "no superlative, promise, cure or price of its own"),
    )


SUITE = Suite(kind="ad_copy", features=features, rules=rules, has_text=True)
