"""Whatever changes the samples of the same targets changes the key of their chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import polars as pl
import pytest

from conftest import sources_of
from nightshift.generate import strategies
from nightshift.generate.chunks import chunk_key
from nightshift.generate.strategies.base import Refused, Strategy
from nightshift.lake import Lake
from nightshift.settings import Settings

ALONE = [name for name in strategies.strategy_names() if not strategies.needs_model(name)]
LEARNS_IN_SECONDS = {"sequences": 40, "steps": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "behaviour_gan": LEARNS_IN_SECONDS | {"min_distinct": 0.0},  # samples, however poor
    "behaviour_vae": LEARNS_IN_SECONDS,
    "seq_generator": LEARNS_IN_SECONDS,
}
TARGETS = 80
HALF_THE_SHOP = 40
"""Events of the median item: with so many, half of the items are of the tail."""


def changes(settings: Settings, name: str) -> Iterator[dict[str, Any]]:
    """Small ones to what a strategy may read of `generate`, one at a time."""
    generate = settings.generate
    yield {"tail_events": HALF_THE_SHOP}
    yield {"seed": generate.seed + 1}
    yield {"chunk_targets": generate.chunk_targets + 1, "budget": {"samples": 1234}}
    section = getattr(generate, name)
    for field, info in type(section).model_fields.items():
        value = another(getattr(section, field), info.annotation)
        if value is not None:
            yield {name: {field: value}}


def another(value: Any, annotation: Any) -> Any:
    """A value that is near; None for a folder, which no test can invent."""
    if get_origin(annotation) is Literal:
        return next(one for one in get_args(annotation) if one != value)
    match value:
        case int():
            return value + 1
        case float():
            return 0.9 * value or 0.1
        case tuple():
            return value[:-1]
    return None


def made(strategy: Strategy, targets: pl.DataFrame) -> Any:
    """The samples, or why there are none."""
    try:
        strategy.fit()
    except Refused as why:
        return str(why)
    return strategy.generate(targets).samples.to_pylist()


@pytest.mark.parametrize("name", ALONE)
def test_settings_that_change_samples_change_the_key(
    lake: Lake, settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a fit learns is learnt anew each time: its own key must hide nothing here.
    monkeypatch.setattr(Strategy, "fitted", lambda _, make, **__: make())
    settings = settings.with_({"generate": {name: SETTINGS.get(name, {})}})
    strategy = strategies.create_strategy(name, sources_of(lake, settings))
    targets = strategy.plan(1000).head(TARGETS)
    key, samples = chunk_key(strategy, targets), made(strategy, targets)
    assert samples

    same_key = []
    for change in changes(settings, name):
        sources = sources_of(lake, settings.with_({"generate": change}))
        other = strategies.create_strategy(name, sources)
        if chunk_key(other, targets) == key:
            same_key.append(change)
            assert made(other, targets) == samples, change
    assert same_key  # of what no samples depend on
