"""Every sample that a chunk wants is made, or counted once among what was dropped."""

from __future__ import annotations

from typing import Any

import pytest
from text_shop import asked_for, made_and_dropped

from conftest import sources_of
from nightshift.generate import shard, strategies
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import Refused, Strategy
from nightshift.lake import Lake
from nightshift.settings import Settings

ALONE = [name for name in strategies.strategy_names() if not strategies.needs_model(name)]
LEARNT = {"sequences": 300, "length": 3, "steps": 2}
HARD: dict[str, dict[str, Any]] = {
    "bayes_net": {"customers": 300, "max_length": 3},
    "behaviour_gan": LEARNT | {"min_distinct": 0.0},
    "behaviour_vae": LEARNT,
    "copula": {"customers": 300, "max_length": 3},
    "negatives": {"max_similarity": 0.5, "pool": 8},
    "random_pairs": {"pairs": 20_000},
    "seq_generator": LEARNT,
    "sequence_ops": {"per_user": 6, "min_similarity": 0.95},
    "text_neighbours": {"min_similarity": 0.75, "contexts_per_item": 30},
    "upsample": {"sequences": 20_000, "max_length": 2},
}
"""More is wanted than there is, or what is made is more often a copy."""


@pytest.mark.parametrize("name", ALONE)
def test_what_is_wanted_is_made_or_counted(lake: Lake, settings: Settings, name: str) -> None:
    hard = settings.with_({"generate": {name: HARD.get(name, {})}})
    strategy = strategies.create_strategy(name, sources_of(lake, hard))
    targets = strategy.plan(10_000)
    strategy.fit()

    assert made_and_dropped(strategy.generate(targets)) == asked_for(targets)


def test_a_refusal_is_counted_in_samples(
    sources: Sources, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Strategy) -> None:
        raise Refused("chance")

    strategy = strategies.create_strategy("negatives", sources)
    monkeypatch.setattr(type(strategy), "fit", refuse)
    targets = strategy.plan(1000)

    [made] = shard.chunks(lake, strategy, [targets], label="refused")

    assert made.chunk.dropped == {"refused": asked_for(targets)}
    assert asked_for(targets) > targets.height
