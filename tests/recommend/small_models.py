"""Models small enough for a test, and data with a pattern that is known because it is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nightshift.histories import Histories
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.samples.arms import known_items
from nightshift.recommend.training.loop import train
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import Windows
from nightshift.settings import ModelSettings
from shop_by_hand import TINY_MODEL, histories, unit_vectors


def model_settings(**changed: Any) -> ModelSettings:
    return ModelSettings(**(TINY_MODEL | changed))


def fresh(
    n_items: int,
    *,
    seed: int = 0,
    attributes: np.ndarray | None = None,
    attributes_on: bool = False,
    **changed: Any,
) -> tuple[Checkpoint, np.ndarray]:
    """An untrained model over `i000`, `i001` …, and the embeddings it reads."""
    vectors = unit_vectors(n_items, seed=7)
    names = [f"i{code:03}" for code in range(n_items)]
    settings = model_settings(**changed, attributes=attributes_on)
    made = checkpoint.fresh(settings, vectors, names, seed=seed, attributes=attributes)
    return made, vectors


def with_deltas(stored: Checkpoint, *, scale: float = 1.0, rows: Any = slice(None)) -> Checkpoint:
    """The model with random id deltas in these rows."""
    noise = torch.randn(stored.deltas.shape, generator=torch.Generator().manual_seed(5)) * scale
    stored.deltas[rows] = noise[rows]
    return stored


def walks(n_items: int, users: int, length: int, *, seed: int = 0) -> tuple[Histories, np.ndarray]:
    """Every item has exactly one successor; each user walks along it from a random item."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_items)
    successor = np.empty(n_items, dtype=np.int64)
    successor[order] = np.roll(order, -1)
    lists = []
    for start in rng.integers(0, n_items, users):
        items = [int(start)]
        while len(items) < length:
            items.append(int(successor[items[-1]]))
        lists.append(items)
    return histories(lists), successor


def training_set(of: Histories, max_length: int = 8, **extra: Any) -> TrainingSet:
    return TrainingSet(Windows.cover(of, max_length), known_items(of), **extra)


def trained(
    stored: Checkpoint, vectors: np.ndarray, data: TrainingSet, *, steps: int, **plan: Any
) -> list[float]:
    """Train in place; the losses."""
    made = Plan(
        **({"learning_rate": 1e-2, "batch": 16, "negatives": 24, "seed": 0} | plan), steps=steps
    )
    features = torch.from_numpy(stored.features(vectors))
    deltas = IdDeltas(stored.deltas)
    return train(stored.model, deltas, features, data, made, attributes=stored.attributes)


def weights(stored: Checkpoint) -> dict[str, torch.Tensor]:
    return {**stored.model.state_dict(), "deltas": stored.deltas}


def assert_same_weights(one: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
