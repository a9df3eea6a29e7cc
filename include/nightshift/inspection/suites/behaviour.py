"""What interactions and negatives share: a real user, a real context, an item new to the user."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.context import context_facts
from nightshift.inspection.detectors.copies import is_first
from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.inspection.rules import Rules, between, is_true
from nightshift.inspection.suites import common
from nightshift.settings import InspectionSettings

_MAX_CONTEXT = 1000
"""No model reads further back; a longer context is a broken one."""


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """The common flags, the user's, and those of the context."""
    found = common.features(samples, facts, settings)
    return (
        found.join(context_facts(found, facts), on="row", how="left", maintain_order="left")
        .with_columns(
            no_text=pl.col("text").is_null(),
            user_known=pl.col("user") != UNKNOWN,
            new_to_user=~facts.had(found["user"], found["item"]),
            context_key=pl.col("context_items").list.join("\x1f", ignore_nulls=True),
        )
        .pipe(
            lambda frame: frame.with_columns(
                sample_is_first=is_first(frame, "user_key", "item_id", "context_key")
            )
        )
    )


def rules(settings: InspectionSettings) -> Rules:
    return (
        *common.rules(settings),
        *common.of_an_item(),
        *is_true("user_unknown", "user_known", "the user is in tonight's snapshot"),
        between("context_empty", "context_length", 1, _MAX_CONTEXT, "there is one in front of it"),
        *is_true("context_unknown_item", "context_known", "all of it is in the catalogue"),
        *is_true("context_foreign", "context_own", "all of it is the user's own, from before"),
        *is_true("target_in_context", "target_after", "the context ends before the target"),
        *is_true("target_in_history", "new_to_user", "the user never had the item"),
        *is_true("text_unexpected", "no_text", "this kind carries no text"),
        *is_true("duplicate", "sample_is_first", "no earlier sample: same user, item, context"),
    )
