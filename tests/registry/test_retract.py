"""Retraction: which samples, and which models were trained on them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from factories import commit
from nightshift import contracts
from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry.retract import retract
from nightshift.retractions import Rule, rules
from nightshift.settings import Settings
from nightshift.stages import STAGES

FIRST = Night.parse("2017-11-20")


def night(number):
    return Night(FIRST.start + timedelta(days=number), FIRST.end + timedelta(days=number))


def sample(number, **fields):
    empty = dict.fromkeys(contracts.SAMPLES.names)
    return empty | {"sample_id": f"s{number}", "night": "2017-11-20", "lineage": "{}"} | fields


SAMPLES = [
    sample(0, strategy="text_neighbours", item_id="a"),
    sample(1, strategy="llm_queries", item_id="a", lineage='{"model": "smol"}'),
    sample(2, strategy="llm_queries", item_id="b", lineage='{"model": "large"}'),
    sample(3, strategy="text_neighbours", item_id=None, night="2017-11-21"),
]


@pytest.fixture
def lake(tmp_path):
    """Three nights in a row; only the first blend holds the samples."""
    settings = Settings.load({"home": str(tmp_path)})
    lake = Lake.of(settings)
    parent = None
    for number in range(3):
        frame = pl.DataFrame(SAMPLES if number == 1 else SAMPLES[:0], schema=_schema())

        def write(ctx, frame=frame):
            table = frame.to_arrow(compat_level=None).cast(contracts.SAMPLES)
            ctx.writer.write_parquet("challenger.parquet", table)
            return {"arms": ["control", "challenger"]}

        blend = commit(lake, settings, night(number), STAGES["blend"], write)
        inputs = {"blend": blend} | ({"parent": parent} if parent else {})
        arm = commit(
            lake,
            settings,
            night(number),
            STAGES["finetune"],
            lambda ctx: {},
            inputs,
            {"arm": "challenger", "seed": "0"},
        )
        parent = commit(
            lake,
            settings,
            night(number),
            STAGES["refresh"],
            lambda ctx: {},
            {"blend": blend, "arm:challenger:0": arm},
        )
    return lake


def _schema():
    return pl.from_arrow(contracts.SAMPLES.empty_table()).schema


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (Rule(strategy="llm_queries"), 2),
        (Rule(model="smol"), 1),
        (Rule(item="a"), 2),
        (Rule(night="2017-11-21"), 1),
        (Rule(strategy="text_neighbours", item="a"), 1),
        (Rule(strategy="unheard of"), 0),
    ],
)
def test_a_rule_takes_what_it_says(lake, rule, count):
    assert retract(lake, rule, reason="r")["samples"] == count


def test_the_models_trained_on_it_are_those_of_its_night_and_all_that_follow(lake):
    record = retract(lake, Rule(item="b"), reason="recalled")
    assert [state.split("/")[1] for state in record["states"]] == [
        "as_of=20171122T000000Z",
        "as_of=20171123T000000Z",
    ]
    assert len(record["blends"]) == 1


def test_nothing_found_names_no_model(lake):
    assert retract(lake, Rule(item="zzz"), reason="r")["states"] == []


def test_retractions_are_kept_and_apply_to_samples_to_come(lake):
    retract(lake, Rule(item="a"), reason="one")
    retract(lake, Rule(model="large"), reason="two")
    assert rules(lake) == [Rule(item="a"), Rule(model="large")]
    left = pl.DataFrame(SAMPLES, schema=_schema())
    for rule in rules(lake):
        left = left.filter(~rule.mask())
    assert left["sample_id"].to_list() == ["s3"]


def test_an_empty_rule_is_refused(lake):
    with pytest.raises(UsageError, match="every sample"):
        retract(lake, Rule(), reason="r")
    assert rules(lake) == []
