"""Stage `finetune`: train one arm from its line's state.

Every arm takes the same number of steps on the same real rows in the same order, beside which
synthetic sequences and hard negatives take part; then the other samples place the items they name,
say more of items, and say something of customers. On the first night an arm starts from nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from nightshift.compute import set_up_torch
from nightshift.errors import ModelRejected
from nightshift.manifest import Manifest
from nightshift.night import Night, microseconds
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.attributes import attribute_codes
from nightshift.recommend.model.features import check_finite
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.samples.arms import known_items, sample_rows, training_set
from nightshift.recommend.samples.deltas import fit_sample_deltas
from nightshift.recommend.samples.texts import ItemTexts, Profiles, embedding
from nightshift.recommend.search.learning import learn_search
from nightshift.recommend.training.parallel import train_model
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import Windows
from nightshift.registry.card_facts import facts_of
from nightshift.registry.readme import arm_readme
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import BLEND, LINE_OF_ARM, StageContext, night_partition, state_partition

log = logging.getLogger("nightshift.finetune")


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `model.safetensors`, `config.json`, `losses.json`, `README.md`, and what it has beside
    them."""
    arm, seed = ctx.parts["arm"], int(ctx.parts["seed"])
    settings = ctx.settings.finetune
    set_up_torch(ctx.settings)
    snapshot = Snapshot(ctx.lake, ctx.inputs["snapshot"])
    vectors = read_vectors(ctx.lake, ctx.inputs["vectors"])
    samples = ctx.lake.read(ctx.inputs["blend"], f"{arm}.parquet")
    item_ids = snapshot.items["item_id"].to_list()
    attributes = attribute_codes(snapshot.items)
    recipe = ctx.lake.read_json(ctx.inputs["recipe"], "recipe.json")
    check_finite(vectors, item_ids)
    parent = ctx.inputs.get("parent")
    if parent is None:
        stored = checkpoint.fresh(
            settings.model, vectors, item_ids, seed=seed, attributes=attributes
        )
        steps, rate = settings.first_steps, settings.learning_rate
    else:
        # A placebo stands in for the samples, so it starts where the challenger starts.
        _same_encoder(parent, ctx.inputs["vectors"])
        prefix = f"{LINE_OF_ARM.get(arm, BLEND)}/"
        stored = checkpoint.load(ctx.lake, parent, item_ids, attributes=attributes, prefix=prefix)
        steps, rate = settings.warm_steps, settings.warm_learning_rate
        if stored.model.settings != settings.model:
            log.warning("finetune.model was changed: the line keeps its own until a first night")
    features = torch.from_numpy(stored.features(vectors))
    deltas = IdDeltas(stored.deltas)
    losses: dict[str, Any] = {}
    if parent is not None and parent.partition != state_partition(ctx.night.start):
        losses["gap"] = _learn_gap(ctx, snapshot, stored, deltas, features, seed, parent.stats)
    length = stored.model.settings.max_length
    data = training_set(snapshot, samples, max_length=length)
    with timed(ctx, "train"):
        losses["train"] = train_model(
            ctx.settings,
            ctx.writer.scratch,
            stored.model,
            deltas,
            features,
            data,
            Plan(
                steps,
                rate,
                settings.batch,
                settings.negatives,
                seed,
                label=f"finetune {arm}",
                sequences=settings.sequence_batch,
                full_softmax=settings.full_softmax,
            ),
            attributes=stored.attributes,
        )
    embed = embedding(ctx.lake, ctx.settings)
    stored.texts = ItemTexts.of(snapshot, vectors, samples, embed)
    profiles = Profiles.of(samples, embed)
    losses["samples"] = fit_sample_deltas(
        stored,
        features,
        data.windows,
        sample_rows(snapshot, samples, max_length=length),
        lean=recipe.get("lean", 0.0),
        events=snapshot.item_events,
        steps=settings.sample_steps,
        rate=settings.learning_rate,
        seed=seed,
        label=f"place samples of {arm}",
    )
    search, losses["query"] = learn_search(
        stored,
        features.numpy(),
        vectors,
        snapshot,
        samples,
        ctx.lake,
        ctx.settings,
        seed=seed,
        history=recipe.get("history", 0.0),
    )
    stored.steps += steps
    ctx.seeds["finetune"] = seed
    checkpoint.save(stored, ctx.writer)
    model = stored.model.settings.model_dump(mode="json")
    facts = facts_of(ctx, arm, steps=stored.steps, model=model, refreshed=False)
    card = arm_readme(facts, partition=night_partition(ctx.night, **ctx.parts))
    ctx.writer.write_bytes("README.md", card.encode())
    if profiles is not None:
        profiles.save(ctx.writer)
    if search is not None:
        search.save(ctx.writer)
    ctx.writer.write_json("losses.json", losses)
    return {
        "arm": arm,
        "steps": steps,
        "steps_behind": stored.steps,
        "loss": losses["train"][-1] if losses["train"] else None,
        "samples": samples.height,
        "parent": None if parent is None else parent.partition,
    }


def _same_encoder(parent: Manifest, vectors: Manifest) -> None:
    """A width says too little: encoders of the same width are many.

    Raises:
        ModelRejected: the parent state was trained on another encoder's embeddings.
    """
    before, now = parent.stats.get("encoder"), vectors.stats.get("encoder")
    if before and now and before != now:
        raise ModelRejected(
            f"The parent state reads embeddings of the encoder {before[:12]}, "
            f"tonight's are of {now[:12]}.",
            hint="set text.encoder (or text.max_tokens) back, or start anew (--first)",
            dataset=parent.folder,
        )


def _learn_gap(
    ctx: StageContext,
    snapshot: Snapshot,
    stored: checkpoint.Checkpoint,
    deltas: IdDeltas,
    features: torch.Tensor,
    seed: int,
    parent_stats: dict[str, Any],
) -> list[float]:
    """Catch up on the events between the last state and this night (`on_gap = learn`)."""
    histories = snapshot.histories
    read, since = histories.read, microseconds(Night.parse(parent_stats["interval"]).end)
    newer = np.add.reduceat(
        np.append(read.times >= since, False).astype(np.int64), read.indptr[:-1]
    ) * (read.lengths > 0)
    return pass_over(
        stored,
        deltas,
        features,
        histories,
        newer,
        ctx,
        seed=seed,
        part="gap",
        label="learn the gap",
    )


def pass_over(
    stored: checkpoint.Checkpoint,
    deltas: IdDeltas,
    features: torch.Tensor,
    histories: Any,
    new: Any,
    ctx: StageContext,
    *,
    seed: int,
    part: str,
    label: str,
) -> list[float]:
    """`refresh_passes` over the newest windows, learning the last `new[u]` items of each user.

    Args:
        part: under which name its seconds stand (see `timed`).
    """
    settings = ctx.settings.finetune
    windows = Windows.newest(histories, new, stored.model.settings.max_length)
    steps = -(-len(windows) // settings.batch) * settings.refresh_passes
    stored.steps += steps
    with timed(ctx, part):
        return train_model(
            ctx.settings,
            ctx.writer.scratch,
            stored.model,
            deltas,
            features,
            TrainingSet(windows, known_items(histories)),
            Plan(
                steps,
                settings.warm_learning_rate,
                settings.batch,
                settings.negatives,
                seed,
                label=label,
                full_softmax=settings.full_softmax,
            ),
            attributes=stored.attributes,
        )


@contextmanager
def timed(ctx: StageContext, part: str) -> Iterator[None]:
    """Puts the seconds of what runs inside into the manifest's run: the training loop alone."""
    started = time.monotonic()
    yield
    ctx.run.setdefault("train_seconds", {})[part] = round(time.monotonic() - started, 3)
