"""Interest profiles: what a customer likes, in words, as the customer's own history has it."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.inspection.rules import Rules, Suite, is_true
from nightshift.inspection.suites import common, text
from nightshift.settings import InspectionSettings

_MIN_CHARS = 3
_MIN_LETTER_SHARE = 0.5  # words and commas; a profile has no sizes and no model numbers


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """Those of a text about a user."""
    return text.features(
        samples, facts, settings, max_chars=settings.max_text_chars, source="user_key"
    ).with_columns(
        user_known=pl.col("user") != UNKNOWN,
        no_item=pl.col("item_id").is_null(),
        no_context=pl.col("context_items").list.len().fill_null(0) == 0,
        # A pseudonym says nothing to a reader, and must say nothing to a model either.
        nameless=~pl.col("text").str.contains(pl.col("user_key"), literal=True).fill_null(False),
    )


def rules(settings: InspectionSettings) -> Rules:
    return (
        *common.rules(settings),
        *common.label(1.0),
        *is_true("user_unknown", "user_known", "the user is in tonight's snapshot"),
        *is_true("item_unexpected", "no_item", "a profile belongs to a user, to no item"),
        *is_true("context_unexpected", "no_context", "this kind carries no context"),
        *is_true("names_the_user", "nameless", "the user's key is not in the text"),
        *text.rules(
            settings,
            min_chars=_MIN_CHARS,
            max_chars=settings.max_text_chars,
            min_letter_share=_MIN_LETTER_SHARE,
        ),
    )


SUITE = Suite(kind="profile", features=features, rules=rules, has_text=True)
