"""Search through a night: learnt by an arm, carried into both lines, served from the state."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from nights_by_hand import ITEMS, RECIPE, Shop, night_events, past_events, wandering

from nightshift.recommend.loading import load
from nightshift.recommend.search import learning as search_learning
from nightshift.recommend.search.hybrid import FILES, PLAN
from shop_by_hand import WIDTH, samples, search_rows, unit_vectors

ASKED = [(f"where is {item}", item) for item in ITEMS] + [(f"{i} now", i) for i in ITEMS]
MADE = samples(
    *(
        {
            "sample_id": f"q{n}",
            "kind": "query",
            "strategy": "llm_queries",
            "item_id": "i03",
            "text": f"made up {n}",
        }
        for n in range(20)
    )
)


def encoded(lake, settings, texts):
    """Vectors by digest: no encoder as narrow as these items."""
    distinct = sorted(set(texts))
    seeds = [hashlib.sha256(text.encode()).digest()[0] for text in distinct]
    vectors = np.concatenate([unit_vectors(1, seed=seed, width=WIDTH) for seed in seeds])
    rows = np.array([distinct.index(text) for text in texts])
    return vectors.astype(np.float16), rows, 0


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setattr(search_learning, "embed", encoded)
    return Shop.at(tmp_path, finetune={"query_steps": 5})


def names(manifest):
    return {entry.name for entry in manifest.files}


def test_what_an_arm_learnt_of_search_is_in_both_lines_and_is_served(shop):
    inputs = shop.before(
        past_events(wandering(10)),
        arms={"control": samples(), "challenger": MADE},
        recipe=RECIPE | {"history": 0.1},
        searches=search_rows(*ASKED),
    )
    models = shop.finetune(inputs)
    state = shop.refresh(inputs, models, night_events(wandering(4)))
    for manifest, arm, line in zip(
        models.values(), ("control", "challenger"), ("real", "blend"), strict=True
    ):
        assert set(FILES) <= names(manifest), arm
        assert {f"{line}/{name}" for name in FILES} <= names(state)
        found = load(
            shop.lake,
            state,
            item_ids=ITEMS,
            vectors=unit_vectors(len(ITEMS)),
            beta=0.0,
            prefix=f"{line}/",
        )
        assert found.queries.search.plan.queries == len(ASKED)
        assert found.queries.search.plan.history == 0.1
        assert found.queries.search.text.any()
    plans = [shop.lake.read_json(manifest, PLAN) for manifest in models.values()]
    assert plans[0]["chosen"]["bm25"] == plans[1]["chosen"]["bm25"]  # judged on the same queries


def test_queries_move_the_challengers_search_and_nothing_else(shop):
    past = past_events(wandering(10))
    inputs = shop.before(
        past, arms={"control": samples(), "challenger": MADE}, searches=search_rows(*ASKED)
    )
    control, challenger = (shop.model(manifest) for manifest in shop.finetune(inputs).values())
    moved = [
        name
        for name, value in challenger.model.state_dict().items()
        if not value.equal(control.model.state_dict()[name])
    ]
    assert moved == ["query.weight"]
    assert challenger.deltas.equal(control.deltas)


def test_a_shop_without_searches_has_no_search_files(shop):
    inputs = shop.before(past_events(wandering(10)))
    models = shop.finetune(inputs)
    state = shop.refresh(inputs, models, night_events(wandering(4)))
    assert not [name for name in names(state) if "search" in name]
