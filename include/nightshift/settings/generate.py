"""What is generated, by which engine, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from nightshift.settings.base import Section
from nightshift.settings.strategies import StrategySections

ALL = "all"
"""In `generate.strategies`: every strategy that is registered."""


class Budget(Section):
    """What one night's generation may cost: the plan is cut to it, and every shard ends at it."""

    samples: int = Field(40_000, ge=0, description="samples to make at most")
    tokens: int = Field(20_000, ge=0, description="tokens to generate, over all language models")
    seconds: float = Field(3600.0, gt=0, description="seconds to generate, over all shards")
    money: float | None = Field(
        None, ge=0, description="to spend at most, by the prices in cost; empty: no limit"
    )


class EngineSettings(Section):
    """What runs a language model."""

    name: Literal["ctranslate2", "transformers"] = Field(
        "ctranslate2", description="what runs the language model"
    )
    model: Path | None = Field(None, description="model folder; default: SmolLM2 from its wheel")
    batch: int = Field(32, ge=1)


class GenerateSettings(StrategySections):
    """Which samples are made, how many, and how they are cut into shards."""

    strategies: tuple[str, ...] = Field(
        ("text_neighbours", "negatives", "llm_queries"),
        description='ways of making samples; ["all"]: every one that is registered',
    )
    shares: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="strategy: its part of the budget relative to the others', if not its own",
    )
    seed: int = Field(0, description="seed of generating")
    budget: Budget = Budget()
    shard_targets: int = Field(2000, ge=1, description="targets per shard")
    chunk_targets: int = Field(100, ge=1, description="targets per chunk, the unit of resuming")
    max_shards: int = Field(100, ge=1, description="Airflow maps one task per shard")
    failure_budget: float = Field(
        0.2, ge=0, le=1, description="share of a strategy's shards that may fail; more: it is lost"
    )
    lost_strategies: float = Field(
        0.5, ge=0, le=1, description="share of strategies that may be lost; more: no samples"
    )
    tail_events: int = Field(5, ge=0, description="at most this many events: a tail item")
    engine: EngineSettings = EngineSettings()

    @field_validator("strategies")
    @classmethod
    def _every_one(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """`all` becomes their names here and nowhere else: a new strategy is then a new key."""
        if ALL not in names:
            return names
        from nightshift.generate.strategies import strategy_names  # names alone: a light module

        return tuple(strategy_names())
