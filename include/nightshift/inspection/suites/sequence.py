"""Sequences: a history as the model reads it, of a known customer or of one that was made up."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.context import context_facts
from nightshift.inspection.detectors.copies import is_first
from nightshift.inspection.detectors.whole_sequence import sequence_facts
from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.inspection.gates import Gate, item_gates
from nightshift.inspection.rules import Rules, Suite, between, is_true
from nightshift.inspection.suites import common
from nightshift.settings import InspectionSettings

_MAX_CONTEXT = 1000
"""No model reads further back; a longer context is a broken one."""
_MIN_OWN = 0.5
"""What names a customer must be mostly that customer's; less of it is somebody made up."""


def features(samples: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> pl.DataFrame:
    """The common flags, those of the context, and those of the sequence as a whole."""
    found = common.features(samples, facts, settings)
    return (
        found.join(context_facts(found, facts), on="row", how="left", maintain_order="left")
        .join(sequence_facts(found, facts), on="row", how="left", maintain_order="left")
        .with_columns(
            no_text=pl.col("text").is_null(),
            user_fits=pl.col("user_key").is_null() | (pl.col("user") != UNKNOWN),
            # Only where the shop's customers take nothing twice is an item that returns wrong.
            returns=pl.when(not facts.repeats).then("returns").otherwise(0),
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
        *common.label(1.0),
        *is_true("user_unknown", "user_fits", "nobody, or a user of tonight's snapshot"),
        between("context_empty", "context_length", 1, _MAX_CONTEXT, "two items or more in all"),
        *is_true("context_unknown_item", "context_known", "all of it is in the catalogue"),
        between("sequence_foreign", "own_share", _MIN_OWN, 1.0, "mostly what the user had"),
        between("item_returns", "returns", 0, 0, "no item twice where nobody buys twice"),
        *is_true("text_unexpected", "no_text", "this kind carries no text"),
        *is_true("duplicate", "sample_is_first", "no earlier sample: same user, same items"),
    )


def gates(left: pl.DataFrame, facts: Facts, settings: InspectionSettings) -> list[Gate]:
    """Has the generator collapsed: are the items as many as real customers would show."""
    entries = left["item_codes"].explode(empty_as_null=False).to_numpy()
    return item_gates(entries, facts.item_events, settings)


SUITE = Suite(kind="sequence", features=features, rules=rules, gates=gates)
