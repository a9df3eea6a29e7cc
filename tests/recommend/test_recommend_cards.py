"""Cards beside weights: written by the stages, and true: what they say to run, runs."""

from __future__ import annotations

import re
from dataclasses import asdict

import polars as pl
import pytest
from huggingface_hub import ModelCard
from nights_by_hand import ITEMS, Shop, night_events, past_events, wandering

from nightshift.contracts import ResultRow
from nightshift.stages import arm_input
from shop_by_hand import NIGHT, TINY, samples

RECIPE = {"beta": {"control": 1.0, "challenger": 7.0}, "gamma": 0.0, "strategies": {}}
POOLED = [
    asdict(ResultRow(arm="challenger", slice="overall", metric="ndcg@10", value=0.25, n=40)),
    asdict(ResultRow(arm="control", slice="overall", metric="ndcg@10", value=0.2, n=40)),
]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night with three samples: what was trained, and its state."""
    tiny = TINY | {"first_steps": 3, "refresh_passes": 1}
    shop = Shop.at(tmp_path_factory.mktemp("cards"), finetune=tiny)
    rows = samples(*({"item_id": item, "context_items": [ITEMS[0]]} for item in ITEMS[1:4]))
    arms = {"control": samples(), "challenger": rows}
    inputs = shop.before(past_events(wandering(12)), arms=arms, recipe=RECIPE)
    models = shop.finetune(inputs)
    state = shop.refresh(inputs, models, night_events({"u003": ["i05"]}), pooled=POOLED)
    return shop, models, state


def card_of(shop, manifest, name="README.md"):
    return ModelCard.load(shop.lake.local_path(manifest.file(name)))


@pytest.mark.parametrize(("line", "figure"), [("real", 0.2), ("blend", 0.25)])
def test_each_line_of_a_state_has_its_own_card(night, line, figure):
    shop, _, state = night
    card = card_of(shop, state, f"{line}/README.md")
    assert [result.metric_value for result in card.data.eval_results] == [figure]
    assert ("3 of kind interaction by `text_neighbours`" in card.text) == (line == "blend")
    # It knows the night's own event, which is the last.
    assert f"last {NIGHT.start:%Y-%m-%d} 01:00 UTC" in card.text
    assert "taken in after the verdict: 1" in card.text
    assert f"`vectors` {state.inputs['vectors'].digest[:16]}" in card.text


def test_each_arm_has_a_card_without_figures(night):
    shop, models, _ = night
    for arm in ("control", "challenger"):
        card = card_of(shop, models[arm_input(arm, 0)])
        assert card.data.eval_results is None
        assert f"# nightshift-{arm}-{NIGHT.key}" in card.text
        assert "3 optimiser steps" in card.text


@pytest.mark.parametrize("name", ["control", "challenger", "real", "blend"])
def test_what_a_card_says_to_run_runs(night, name, monkeypatch):
    shop, models, state = night
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(shop.settings.home))
    if name in ("real", "blend"):
        card = card_of(shop, state, f"{name}/README.md")
    else:
        card = card_of(shop, models[arm_input(name, 0)])
    (snippet,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    place = {}
    exec(snippet, place)
    assert isinstance(place["best"], pl.Series)
    assert place["best"].n_unique() == 10
    assert set(place["best"]) <= set(ITEMS)
    assert place["model"].beta == (1.0 if name in ("control", "real") else 7.0)


def test_equal_inputs_give_an_equal_card(night):
    shop, models, state = night
    whole = {name: shop.lake.get_ref(ref) for name, ref in state.inputs.items()}
    inputs = {name: whole[name] for name in ("snapshot", "vectors", "recipe", "blend")}
    again = shop.refresh(inputs, models, night_events({"u003": ["i05"]}), pooled=POOLED)
    assert again.file("blend/README.md").sha256 == state.file("blend/README.md").sha256
