"""What a recipe does to samples: weights, scope, strategies it does not name."""

from __future__ import annotations

import polars as pl
import pytest

from nightshift.recipes import is_short, weigh
from shop_by_hand import samples

SHORT, LONG = '{"similarity":0.7,"short":1.0}', '{"similarity":0.9,"short":0.0}'
MADE = samples(
    {"sample_id": "short", "scores": SHORT},
    {"sample_id": "long", "scores": LONG, "weight": 0.5},
    {"sample_id": "other", "strategy": "negatives", "scores": '{"popularity":3}'},
    {"sample_id": "words", "strategy": "llm_queries", "scores": None},
)


def weights(strategies):
    found = weigh(MADE, strategies)
    return dict(found.select("sample_id", "weight").iter_rows())


def test_the_weight_multiplies_what_the_sample_has():
    chosen = {"text_neighbours": {"weight": 0.3, "scope": "all"}}
    assert weights(chosen) == {"short": pytest.approx(0.3), "long": pytest.approx(0.15)}


def test_scope_short_keeps_samples_of_short_items_only():
    assert set(weights({"text_neighbours": {"weight": 0.3, "scope": "short"}})) == {"short"}


def test_weight_zero_and_strategies_without_a_name_are_left_out():
    off = {"text_neighbours": {"weight": 0.0}, "negatives": {"weight": 1.0}}
    assert set(weights(off)) == {"other"}
    assert weights({}) == {}
    assert weigh(MADE, {}).schema == MADE.schema


def test_nothing_else_about_a_sample_changes():
    every = {name: {"weight": 0.5} for name in ("text_neighbours", "negatives", "llm_queries")}
    found = weigh(MADE, every)
    assert found.drop("weight").equals(MADE.drop("weight"))


@pytest.mark.parametrize(
    ("scores", "short"),
    [(SHORT, True), (LONG, False), ("{}", False), (None, False), ('{"short": 1}', True)],
)
def test_short_is_read_from_the_scores(scores, short):
    frame = pl.DataFrame({"scores": [scores]}, schema={"scores": pl.String})
    assert frame.select(is_short()).item() is short
