"""The branches of the settings that a night is made by: the shop, the nights, the stages.

A field's default is the product's default; its description is what `nightshift settings` prints.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nightshift.settings.base import Section

Approval = Literal["none", "new_line", "every_night"]
Share = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


# --- the shop --------------------------------------------------------------------------------


class ShopSettings(Section):
    """Overrides of what the loader wrote about the shop (None: as the store says)."""

    repeats: bool | None = Field(None, description="may an item already bought be recommended")
    target_kinds: tuple[str, ...] | None = Field(
        None, description="event kinds that count as a positive target"
    )
    new_every: int = Field(
        0,
        ge=0,
        description="of so many places of a list one is kept for an item nobody has bought yet, "
        "the last of them, where none ranks higher by itself; 0: none",
    )


class NightSettings(Section):
    """How nights follow each other."""

    first: datetime | None = Field(
        None, description="start of the first night: it learns from nothing but history"
    )
    on_gap: Literal["fail", "learn"] = Field(
        "fail", description="no state ends at this night's start: fail, or learn all since the last"
    )
    wait_seconds: int = Field(3600, ge=0, description="how long a stage waits for a held lease")


# --- the stages ------------------------------------------------------------------------------


class Withhold(Section):
    """A seeded share of the items, removed from everything that learns."""

    share: float = Field(ge=0, lt=1)
    salt: int


class CollectSettings(Section):
    """Cleaning rules. Each rule counts what it drops."""

    withhold: tuple[Withhold, ...] = ()
    tie_seed: int = Field(7, description="seed of the shuffle inside equal times of one user")
    max_events_per_user_day: int = Field(
        1000, ge=1, description="more in one day: a bot or a wholesaler, its day is dropped"
    )
    max_text_chars: int = Field(2000, ge=1, description="longer item texts are cut and counted")
    max_price: float = Field(1e6, gt=0)


class TextSettings(Section):
    """The sentence encoder."""

    encoder: Path | None = Field(None, description="model folder; default: MiniLM from its wheel")
    batch: int = Field(64, ge=1)
    max_tokens: int = Field(64, ge=8, le=512)


class InspectionSettings(Section):
    """Row checks and batch gates."""

    max_rejected: float = Field(0.6, ge=0, le=1, description="a larger share stops the batch")
    min_relevance: float = Field(0.2, description="cosine of a text sample with its source item")
    max_query_chars: int = 80
    max_text_chars: int = Field(
        400, ge=20, description="of a review, a description, a profile, an advertisement"
    )
    max_item_share: float = Field(0.2, gt=0, le=1, description="one item's share of a batch")
    min_distinct_texts: float = Field(
        0.3, ge=0, le=1, description="distinct texts over texts of a batch; fewer stop it"
    )
    min_distinct_items: float = Field(
        0.3, ge=0, le=1, description="distinct items of sequences over those of real ones"
    )
    min_coverage: float = Field(
        0.2, ge=0, le=1, description="events of items in sequences over those of real ones"
    )
    on_stop: Literal["drop", "fail"] = Field(
        "drop", description="a stopped batch: go on without its samples, or end the stage"
    )


class BlendSettings(Section):
    """How real rows and accepted samples become one training set."""

    ttl_days: int = Field(28, ge=1, description="an accepted sample is used for this long")
    placebos: tuple[Literal["upsample", "random_pairs"], ...] = Field(
        (), description="placebo arms beside control and challenger"
    )


class ModelSettings(Section):
    """The recommender: a causal transformer over items with text features."""

    dim: int = Field(64, ge=8)
    layers: int = Field(2, ge=1)
    layer: Literal["sasrec", "ligr"] = Field(
        "sasrec", description="plain blocks, or gated ones with SwiGLU (eSASRec's)"
    )
    heads: int = Field(2, ge=1)
    feedforward: int = Field(4, ge=1, description="width of the inner layer, in dims")
    max_length: int = Field(50, ge=2)
    signals: bool = Field(
        True, description="read the events' kinds, the time between them, and how long ago it is"
    )
    dropout: float = Field(0.2, ge=0, lt=1)
    item_dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout of item vectors, where read and where ranked alike"
    )
    id_dropout: float = Field(0.3, ge=0, lt=1, description="share of items shown by text alone")
    id_norm: float = Field(1.0, gt=0, description="bound of the id delta relative to the text part")
    features: int = Field(
        384, ge=0, description="text features kept by the whitening; 0: items are their ids alone"
    )
    attributes: bool = Field(
        True, description="learn what an item's category, brand and price band add to its text"
    )


class FinetuneSettings(Section):
    """Steps and rates, the same for every arm."""

    model: ModelSettings = ModelSettings()
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="one state per seed and arm")
    first_steps: int = Field(1200, ge=1, description="optimiser steps of the first night")
    warm_steps: int = Field(60, ge=0, description="optimiser steps of every later night")
    sample_steps: int = Field(120, ge=0, description="steps that place samples, every night")
    refresh_passes: int = Field(4, ge=0, description="passes over the night's own events")
    batch: int = Field(128, ge=1, description="user windows per step")
    negatives: int = Field(1024, ge=1, description="shared sampled negatives per step")
    full_softmax: int = Field(
        2048, ge=0, description="with at most so many items with events, all of them compete"
    )
    sequence_batch: int = Field(
        64, ge=1, description="synthetic sequences beside the real windows of a step, at most"
    )
    learning_rate: float = Field(3e-3, gt=0)
    warm_learning_rate: float = Field(5e-4, gt=0)
    query_steps: int = Field(200, ge=0, description="steps of the query projection")


class TuneSettings(Section):
    """What is tried on the inner split, and how often."""

    every_days: int = Field(7, ge=1)
    inner_cut: float = Field(8 / 9, gt=0, lt=1, description="quantile of event times before start")
    withhold: float = Field(0.1, ge=0, lt=1)
    budget_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="part of generate.budget's tokens, seconds and money that the samples of the "
        "inner night may cost on top of the night's own",
    )
    steps: int = Field(1200, ge=1, description="as many as first_steps, or it misjudges")
    weights: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5, 1.0), description="weights of interactions tried, beside zero"
    )
    scopes: tuple[Literal["cold", "short", "all"], ...] = Field(
        ("cold", "short", "all"),
        description="items that interactions and texts may move: without events, with few "
        "(generate.tail_events), all",
    )
    sequence_weights: tuple[Share, ...] = Field(
        (0.3,), description="weights of synthetic sequences tried; each trains a model of its own"
    )
    text_weights: tuple[Share, ...] = Field(
        (0.25, 0.5),
        description="shares tried of texts about an item in its embedding, where it is ranked",
    )
    profile_weights: tuple[Share, ...] = Field(
        (0.25, 0.5), description="shares tried of texts about a customer in the text profile"
    )
    betas: tuple[Weight, ...] = Field(
        (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0),
        min_length=1,
        description="serve-time text blends tried",
    )
    leans: tuple[Weight, ...] = Field(
        (0.0, 3.0, 10.0),
        min_length=1,
        description="own events that weigh as much as an item's text neighbours in its ranking",
    )
    follows: tuple[Weight, ...] = Field(
        (0.0, 2.0, 5.0, 10.0, 20.0),
        min_length=1,
        description="weights tried of what followed a customer's last items",
    )
    gammas: tuple[Weight, ...] = Field(
        (0.0, 2.0, 4.0, 8.0, 16.0, 32.0),
        min_length=1,
        description="weights of the user's own items tried",
    )
    max_loss: float = Field(
        0.01,
        ge=0,
        description="a recipe's lower bounds, overall and warm: above minus this; and what the "
        "text blend may cost overall for cold items",
    )


class EvaluateSettings(Section):
    """How arms are compared."""

    resamples: int = Field(10_000, ge=100)
    bootstrap_seed: int = 12345
    pool_nights: int = Field(28, ge=1, description="nights pooled into one verdict")
    min_users: int = Field(100, ge=2, description="fewer: no interval, keep the champion")
    max_loss: float = Field(
        0.01, ge=0, description="overall and warm: lower bound above minus this"
    )
    max_coverage_loss: float = Field(0.1, ge=0)


class PromotionSettings(Section):
    """How a verdict goes live. No part of any key: it changes what is served, not what is made."""

    approval: Approval = Field(
        "none",
        description="what waits for a person: nothing, a change of line, or every night's model",
    )
    max_lag_hours: float = Field(
        48.0, gt=0, description="the live model may know this much less than the clock says"
    )


class ScoreSettings(Section):
    """The recommendations that are written to Postgres."""

    top_n: int = Field(20, ge=1)
    active_days: int = Field(90, ge=1, description="users with an event this recently are scored")
    block: int = Field(512, ge=1, description="users per matrix product")
    explain: bool = Field(
        True, description="say with each recommendation what carried it: items, words, terms"
    )
    explain_history: int = Field(
        10, ge=1, description="a user's last events that are looked at, one item at a time"
    )
