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
