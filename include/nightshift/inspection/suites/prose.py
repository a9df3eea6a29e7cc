"""What the kinds share that are prose about an item: grounded in its text, of a sentence or two."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.copies import is_title
from nightshift.inspection.detectors.grounding import invented
from nightshift.inspection.facts import Facts
from nightshift.inspection.rules import Rules, is_null, is_true
from nightshift.inspection.suites import common, text
from nightshift.settings import InspectionSettings

_MIN_CHARS = 10
_MIN_LETTER_SHARE = 0.5
_SOURCE_CHARS = 4000
"""Of an item's text, in which facts are looked up."""


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of a text, and the facts it makes up. Unlike a query it may hold the whole title."""
    found = text.features(samples, facts, settings, max_chars=settings.max_text_chars)
    found = found.with_columns(
        not_the_title=~is_title(pl.col("head"), pl.col("title")),
        item_text=pl.col("item_text").str.head(_SOURCE_CHARS),
    )
    return found.with_columns(
        invented=invented(found["head"], found["title"], found["item_text"]),
    )


def rules(settings: InspectionSettings) -> Rules:
    return (
        *common.rules(settings),
        *common.of_an_item(),
        *is_true("user_unexpected", "no_user", "it belongs to an item, to no user"),
        *text.rules(
            settings,
            min_chars=_MIN_CHARS,
            max_chars=settings.max_text_chars,
            min_letter_share=_MIN_LETTER_SHARE,
        ),
        is_null("invented_fact", "invented", "no number, attribute or name that the item lacks"),
    )
