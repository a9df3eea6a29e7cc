"""Where things are, what a process may use, what it says, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from nightshift.settings.base import Section

_SECRET = re.compile(r"key|secret|token|passw|credential|sas", re.IGNORECASE)


class StoreSettings(Section):
    """The event store: the shop's Postgres, or the embedded server when no URL is given."""

    url: SecretStr | None = Field(None, description="SQLAlchemy URL (postgresql+psycopg2://…)")
    database: str = Field("shop", description="database on the embedded server")
    pseudonym_key: SecretStr | None = Field(
        None, description="key of the user pseudonyms; by default random, kept in the store"
    )


class LakeSettings(Section):
    """The object storage: one root URI."""

    root: str | None = Field(None, description="file:///… or s3://bucket/…; default: home/lake")
    options: dict[str, Any] = Field(
        default_factory=dict, description="fsspec options, such as endpoint_url for s3"
    )

    @field_validator("options")
    @classmethod
    def _hide(cls, options: dict[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = _map_secrets(options, SecretStr)
        return hidden

    @property
    def open_options(self) -> dict[str, Any]:
        """The options as fsspec takes them, secrets in the clear."""
        shown: dict[str, Any] = _map_secrets(self.options, lambda text: text)
        return shown


def _map_secrets(value: Any, act: Callable[[str], Any], name: str = "") -> Any:
    """The same tree with `act` done to every text whose name says that it is a secret."""
    if isinstance(value, dict):
        return {key: _map_secrets(below, act, key) for key, below in value.items()}
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return act(text) if isinstance(text, str) and _SECRET.search(name) else value


class ComputeSettings(Section):
    """What one process may use."""

    threads: int = Field(
        2,
        ge=1,
        description="CPU threads of torch, CTranslate2 and Polars; training below 256 dims has one",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0 …")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of training's products; auto: bfloat16 where the hardware has it and it is "
        "faster (on a CPU from 256 dims)",
    )
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        1, description="processes that train one model, a GPU each; auto: one per visible GPU"
    )
    termination_log: Path = Field(
        Path("/dev/termination-log"),
        description="where a command leaves its last word, if the file is there (as in a pod)",
    )


class LogSettings(Section):
    """What a command says on stderr; part of no key."""

    format: Literal["text", "json"] = Field("text", description="json: one object a line")
    level: Literal["debug", "info", "warning", "error"] = "info"


class TokenPrice(Section):
    """What a language model costs by the token."""

    input: float = Field(0.0, ge=0, description="per million tokens of prompts")
    output: float = Field(0.0, ge=0, description="per million tokens that it writes")


class CostSettings(Section):
    """What machines and models cost: the price table.

    No part of any key, but for a night with `generate.budget.money`: its plan is cut by it.
    """

    gpu_hour: float = Field(0.0, ge=0, description="price of a GPU-hour; 0: no money is shown")
    cpu_hour: float = Field(0.0, ge=0, description="price of an hour of a machine without a GPU")
    models: dict[str, TokenPrice] = Field(
        default_factory=dict, description="prices by the name of a model or of an engine"
    )
    currency: str = Field("USD", description="of the prices")
