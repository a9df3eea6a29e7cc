"""What holds for a sample of any kind: the contract, its ids, its weight, its lineage."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.copies import is_first
from nightshift.inspection.detectors.json_object import is_object
from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.inspection.rules import Rules, Suite, between, is_true, one_of, required
from nightshift.settings import InspectionSettings

INSPECTED = (  # kinds with a suite, in a module of their name
    "ad_copy",
    "description",
    "interaction",
    "negative",
    "profile",
    "query",
    "review",
    "sequence",
)
MAX_WEIGHT = 1.0
"""A sample never weighs more than a real row."""


def features(samples: pl.DataFrame, facts: Facts, _: InspectionSettings) -> pl.DataFrame:
    """Flags of the contract and of the ids, for samples of any kind."""
    return samples.with_columns(
        id_given=pl.col("sample_id").is_not_null(),
        id_is_first=is_first(samples, "sample_id"),
        kind_inspected=pl.col("kind").is_in(INSPECTED).fill_null(False),
        strategy_ran=pl.col("strategy").is_in(facts.strategies).fill_null(False),
        item_known=pl.col("item") != UNKNOWN,
        night_is_tonight=(pl.col("night") == facts.night).fill_null(False),
        shard_is_its_file=(pl.col("shard") == pl.col("shard_file")).fill_null(False),
        lineage_ok=is_object(pl.col("lineage")) & (pl.col("lineage") != "{}"),
        scores_ok=is_object(pl.col("scores")) | pl.col("scores").is_null(),
    )


def rules(_: InspectionSettings) -> Rules:
    return (
        *is_true("schema", "schema_ok", "columns and types are those of the contract"),
        *is_true("kind_not_inspected", "kind_inspected", "there is a suite for this kind"),
        *is_true("sample_id_missing", "id_given", "a sample is named by its content"),
        *is_true("duplicate_id", "id_is_first", "no earlier sample has this id"),
        *is_true("strategy_unknown", "strategy_ran", "a strategy that ran tonight made it"),
        *is_true("night_wrong", "night_is_tonight", "the sample was made tonight"),
        *is_true("shard_wrong", "shard_is_its_file", "the sample lies in the shard it names"),
        *is_true("lineage_missing", "lineage_ok", "it says what it was made from, as JSON"),
        *is_true("scores_broken", "scores_ok", "scores are one JSON object"),
        *required(
            between(
                "weight_out_of_range",
                "weight",
                0.0,
                MAX_WEIGHT,
                "above 0, at most the weight of a real row",
                open_low=True,
            )
        ),
    )


def of_an_item() -> Rules:
    """What holds for the kinds that are about an item."""
    return is_true("item_unknown", "item_known", "the item is in tonight's catalogue")


def label(*allowed: float) -> Rules:
    """The labels that a kind may carry."""
    return one_of("label_wrong", "label", allowed, "the label of this kind of sample")


def nameless(settings: InspectionSettings) -> Rules:
    """Rules for what says no kind, or one that there is not."""
    return (*rules(settings), *of_an_item())


SUITE = Suite(kind="", features=features, rules=nameless)
