"""What a recipe does to samples: weights, scope, strategies it does not name."""

from __future__ import annotations

import polars as pl
import pytest

from nightshift.recipes import own_weight, weigh
from shop_by_hand import samples

ITEMS = pl.DataFrame({"item_id": ["cold", "tail", "busy"], "events": [0, 5, 6]})
MADE = samples(
    {"sample_id": "cold", "item_id": "cold"},
    {"sample_id": "tail", "item_id": "tail", "weight": 0.5},
    {"sample_id": "busy", "item_id": "busy"},
    {"sample_id": "other", "item_id": "cold", "strategy": "negatives"},
    {"sample_id": "words", "item_id": "cold", "strategy": "llm_queries", "scores": None},
)


def weighed(strategies):
    return weigh(MADE, strategies, ITEMS, tail_events=5)


def weights(strategies):
    return dict(weighed(strategies).select("sample_id", "weight").iter_rows())


def test_the_weight_multiplies_what_the_sample_has():
    found = weights({"text_neighbours": {"weight": 0.3, "scope": "all"}})
    assert found == {
        "cold": pytest.approx(0.3),
        "tail": pytest.approx(0.15),
        "busy": pytest.approx(0.3),
    }


@pytest.mark.parametrize(
    ("scope", "kept"),
    [("cold", {"cold"}), ("short", {"cold", "tail"}), ("all", {"cold", "tail", "busy"})],
)
def test_a_scope_is_about_the_events_an_item_has_now(scope, kept):
    assert set(weights({"text_neighbours": {"weight": 0.3, "scope": scope}})) == kept


def test_weight_zero_and_strategies_without_a_name_are_left_out():
    off = {"text_neighbours": {"weight": 0.0}, "negatives": {"weight": 1.0}}
    assert set(weights(off)) == {"other"}
    assert weights({}) == {}
    assert weighed({}).schema == MADE.schema


def test_nothing_else_about_a_sample_changes():
    every = {name: {"weight": 0.5} for name in ("text_neighbours", "negatives", "llm_queries")}
    assert weighed(every).drop("weight").equals(MADE.drop("weight"))


@pytest.mark.parametrize(
    ("scores", "weight"),
    [('{"similarity":0.9,"weight":0.6561}', 0.6561), ("{}", 1.0), (None, 1.0)],
)
def test_a_samples_own_weight_is_read_from_its_scores(scores, weight):
    frame = pl.DataFrame({"scores": [scores]}, schema={"scores": pl.String})
    assert frame.select(own_weight()).item() == pytest.approx(weight)
