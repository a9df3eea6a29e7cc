"""What is generated, by which engine, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from nightshift.settings.base import Section
from nightshift.settings.strategies import StrategySections


class Budget(Section):
    """What one night's generation may cost."""

    samples: int = Field(40_000, ge=0, description="samples to make at most")
    tokens: int = Field(20_000, ge=0, description="tokens to generate, over all language models")
    seconds: float = Field(3600.0, gt=0, description="seconds to generate, over all shards")


class EngineSettings(Section):
    """What runs a language model."""

    name: Literal["ctranslate2", "transformers"] = Field(
        "ctranslate2", description="what runs the language model"
    )
    model: Path | None = Field(None, description="model folder; default: SmolLM2 from its wheel")
    batch: int = Field(32, ge=1)


class AdaptSettings(Section):
    """How the language model learns the shop's own texts (LoRA)."""

    strategies: tuple[str, ...] | None = Field(
        None, description="whose prompts it learns; default: all for which there are enough pairs"
    )
    shipped: bool = Field(
        True, description="hand-written English pairs beside the shop's own (the shop's may be few)"
    )
    pairs: int = Field(400, ge=1, description="of a strategy from the shop's own texts at most")
    min_pairs: int = Field(20, ge=1, description="fewer teach a strategy's prompts nothing")
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the pairs that judges")
    steps: int = Field(120, ge=0, description="optimiser steps on the pairs")
    pretrain_steps: int = Field(
        0, ge=0, description="steps on the catalogue's plain text before the pairs"
    )
    batch: int = Field(8, ge=1)
    rank: int = Field(16, ge=1, description="of the low-rank updates")
    layers: int = Field(0, ge=0, description="last layers that are adapted; 0: all")
    learning_rate: float = Field(1e-3, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1, description="of the updates while they learn")
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="of the weights while it learns"
    )
    probe_items: int = Field(
        40, ge=0, description="items that are written for before and after, to count what is usable"
    )
    seed: int = 0


class GenerateSettings(StrategySections):
    """Which samples are made, how many, and how they are cut into shards."""

    strategies: tuple[str, ...] = ("text_neighbours", "negatives", "llm_queries")
    seed: int = Field(0, description="seed of generating")
    budget: Budget = Budget()
    shard_targets: int = Field(2000, ge=1, description="targets per shard")
    chunk_targets: int = Field(100, ge=1, description="targets per chunk, the unit of resuming")
    max_shards: int = Field(100, ge=1, description="Airflow maps one task per shard")
    failure_budget: float = Field(0.2, ge=0, le=1, description="share of shards that may fail")
    tail_events: int = Field(5, ge=0, description="at most this many events: a tail item")
    engine: EngineSettings = EngineSettings()
