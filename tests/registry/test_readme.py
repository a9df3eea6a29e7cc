"""Cards as model hubs read them: metadata, figures, and what a person must know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from huggingface_hub import ModelCard

from nightshift.contracts import ResultRow
from nightshift.registry.card_facts import Facts, rows_from
from nightshift.registry.readme import arm_readme, line_readme

FACTS = Facts(
    shop='The "odd" shop: #1\n- café',
    night="2017-11-20",
    arm="challenger",
    first_event=datetime(2017, 1, 2, 3, 4, tzinfo=UTC),
    last_event=datetime(2017, 11, 20, 23, 59, tzinfo=UTC),
    counts={"events": 12345, "items": 678, "users": 90, "inside": 321},
    samples=(("interaction", "text_neighbours", 1500), ("review", "llm_reviews", 7)),
    recipe={
        "recipe_id": "f00d",
        "beta": {"control": 2.5, "challenger": 5.0},
        "gamma": 0.0,
        "strategies": {"text_neighbours": {"weight": 0.5, "scope": "cold"}},
        "kinds": {"text_neighbours": "interaction"},
    },
    encoder="a1b2c3d4" * 8,
    own_encoder=False,
    steps=4321,
    model={"dim": 64, "layers": 2},
    inputs={"snapshot": "5" * 64, "vectors": "7" * 64},
)
VERDICT = {
    "decision": "promoted",
    "live_line": "blend",
    "pooled_nights": 4,
    "reasons": ["The samples earn their place."],
}


def level(arm, slice_, metric, value, n=500):
    return ResultRow(arm=arm, slice=slice_, metric=metric, value=value, n=n)


ROWS = [
    level("challenger", "overall", "ndcg@10", 0.0631),
    level("challenger", "overall", "recall@10", 0.12),
    level("challenger", "cold", "recall@10", 0.031, n=120),
    level("challenger", "overall", "coverage@10", 0.4),
    level("control", "overall", "ndcg@10", 0.0611),
    level("popularity_7d", "overall", "ndcg@10", 0.03),
    replace(level("challenger", "overall", "ndcg@10", 9.0), seed=1),
    ResultRow(
        arm="challenger",
        against="control",
        slice="overall",
        metric="ndcg@10",
        value=0.002,
        relative=0.033,
        ci95=(0.011, 0.055),
        n=500,
    ),
    ResultRow(
        arm="challenger",
        against="champion",
        slice="cold",
        metric="recall@10",
        value=-0.001,
        relative=-0.02,
        ci95=(-0.08, 0.04),
        n=120,
    ),
]
PARTITION = "as_of=2017-11-21T00:00:00Z"


@pytest.fixture
def card():
    return ModelCard(line_readme(FACTS, VERDICT, ROWS, partition=PARTITION))


def test_the_hub_reads_the_metadata(card):
    data = card.data
    assert data.to_dict()["library_name"] == "nightshift"
    assert (data.license, data.license_name) == ("other", "the-shops-own")
    assert data.license_link == "#licence-of-the-parts"
    assert "## Licence of the parts" in card.text
    assert data.pipeline_tag == "other"
    assert "sequential-recommendation" in data.tags
    assert data.metrics == ["ndcg@10", "recall@10"]
    assert data.model_name == "nightshift-blend-2017-11-21T00:00:00Z"


def test_the_model_index_has_this_models_own_figures(card):
    found = {
        (result.dataset_config, result.metric_type): result.metric_value
        for result in card.data.eval_results
    }
    # Means of this arm alone: no other arm, no single seed, no difference, nothing of lists.
    assert found == {
        ("overall", "ndcg@10"): 0.0631,
        ("overall", "recall@10"): 0.12,
        ("cold", "recall@10"): 0.031,
    }
    names = {(r.task_type, r.dataset_type, r.dataset_name) for r in card.data.eval_results}
    said = 'The "odd" shop: #1- café: the night\'s own events, 4 night(s) pooled'
    assert names == {("recommendation", "shop-events", said)}


def test_the_hub_writes_what_it_read(card):
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()
    assert again.text == card.text


def test_a_person_reads_what_matters(card):
    text = card.text
    assert 'The "odd" shop: #1 - café' in text
    assert "first event 2017-01-02 03:04 UTC, last 2017-11-20 23:59 UTC" in text
    assert "12,345 events, 90 customers, 678 items" in text
    assert "taken in after the verdict: 321" in text
    assert "1,500 of kind interaction by `text_neighbours`; 7 of kind review" in text
    assert "recipe `f00d`, text blend β 5," in text
    assert "4,321 optimiser steps" in text
    assert "| slice | metric | users | challenger | control | popularity_7d |" in text
    assert "| overall | ndcg@10 | 500 | 0.0631 | 0.0611 | 0.0300 |" in text
    assert "| cold | recall@10 | 120 | 0.0310 |  |  |" in text
    assert "| overall | ndcg@10 | 500 | +0.0020 | +3.3% | +1.1% to +5.5% |" in text
    assert "challenger against champion:" in text
    assert "| cold | recall@10 | 120 | -0.0010 | -2.0% | -8.0% to +4.0% |" in text
    assert "the blend line is the one to serve. The samples earn their place." in text
    assert "Not judged** here (no such user or query): warm, tail, new_users" in text
    assert "all-MiniLM-L6-v2 (Apache-2.0), digest a1b2c3d4a1b2c3d4" in text
    assert "nothing after 2017-11-20 23:59 UTC" in text
    assert "English" in text


def test_the_other_line_is_not_the_one_to_serve():
    other = line_readme(replace(FACTS, arm="control", samples=()), VERDICT, ROWS, partition="p")
    assert "the real line is not the one to serve" in other
    assert "samples behind it**: none" in other
    assert "text blend β 2.5," in other
    assert ModelCard(other).data.eval_results[0].metric_value == 0.0611


def test_a_night_without_events_has_no_index_and_says_so():
    card = ModelCard(line_readme(FACTS, VERDICT, [], partition=PARTITION))
    assert card.data.eval_results is None
    assert "Not judged: the night had no events" in card.text


def test_an_arm_is_not_judged_yet_and_an_own_encoder_has_its_own_licence():
    card = ModelCard(arm_readme(replace(FACTS, own_encoder=True), partition="night=n/arm=a/seed=0"))
    assert card.data.eval_results is None
    assert "has not judged it yet" in card.text
    assert "the shop's choice, under its own licence" in card.text
    assert "MiniLM" not in card.text


def test_rows_come_back_from_json_with_their_intervals():
    raw = {"arm": "a", "slice": "overall", "metric": "mrr", "value": 0.5, "n": 3, "ci95": [0, 1]}
    assert rows_from([raw, raw | {"ci95": None}]) == [
        ResultRow(arm="a", slice="overall", metric="mrr", value=0.5, n=3, ci95=(0, 1)),
        ResultRow(arm="a", slice="overall", metric="mrr", value=0.5, n=3),
    ]
