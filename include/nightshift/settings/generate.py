"""What is generated, by which engine, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from nightshift.settings.base import Section
from nightshift.settings.strategies import StrategySections

ALL = "all"
"""In `generate.strategies`: every strategy that is registered."""


class Budget(Section):
    """What one night's generation may cost: the plan is cut to it, and every shard ends at it."""

    samples: int = Field(40_000, ge=0, description="samples to make at most")
    tokens: int = Field(60_000, ge=0, description="tokens to generate, over all language models")
    seconds: float = Field(3600.0, gt=0, description="seconds to generate, over all shards")
    money: float | None = Field(
        None, ge=0, description="to spend at most, by the prices in cost; empty: no limit"
    )


class EngineSettings(Section):
    """What runs a language model: one that is loaded here, or a server's (openai)."""

    name: Literal["ctranslate2", "transformers", "vllm", "openai"] = Field(
        "ctranslate2", description="what runs the language model"
    )
    model: Path | None = Field(None, description="model folder; default: SmolLM2 from its wheel")
    batch: int = Field(32, ge=1, description="prompts in one batch")
    batch_tokens: int = Field(32_768, ge=1, description="tokens attended to in one batch, at most")
    call_seconds: float = Field(
        1800.0, gt=0, description="a model loaded here that takes longer for one call hangs"
    )
    gpu_memory: float = Field(
        0.9, gt=0, le=1, description="vllm: share of the GPU's memory to take"
    )
    url: str | None = Field(
        None, description="openai: where the API begins, such as http://127.0.0.1:8000/v1"
    )
    api_key: SecretStr | None = Field(None, description="openai: sent as a bearer token")
    model_name: str | None = Field(
        None, description="openai: the model to ask for; default: the only one that is served"
    )
    concurrency: int = Field(8, ge=1, description="openai: requests at the same time")
    timeout_seconds: float = Field(120.0, gt=0, description="openai: one request, at most")
    max_retries: int = Field(6, ge=0, description="openai: of one request, with longer waits each")
    structured: Literal["none", "vllm", "llama.cpp"] = Field(
        "none", description="openai: how the server is told which pattern a line must match"
    )
    send_top_k: bool = Field(
        True, description="openai: false for a server that refuses top_k, as OpenAI's own does"
    )

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://-")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it is no http:// or https:// URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a URL is shown: credentials belong into generate.engine.api_key")
        return url


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
    min_searchers: int = Field(
        3, ge=1, description="customers who typed a query, before a model is shown it"
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
