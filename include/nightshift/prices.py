"""Samples, tokens and seconds as money: the price table of `settings.cost`, applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.compute import has_gpu
from nightshift.settings import Settings

_HOUR = 3600.0
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Rates:
    """What one strategy's work costs, in the currency of the settings."""

    prompt_token: float = 0.0
    token: float = 0.0
    second: float = 0.0

    def money(self, *, seconds: float, tokens: float = 0, prompt_tokens: float = 0) -> float:
        """Of so much work."""
        return (
            prompt_tokens * self.prompt_token + tokens * self.token + float(seconds) * self.second
        )


def rates_of(settings: Settings, model: str | None, *, gpu: bool | None = None) -> Rates:
    """The prices of a strategy's work: its language model's, and the machine's that it runs on.

    Args:
        model: name of the language model that writes for it; None when none does. The table is
            asked for this name first, then for the engine's.
        gpu: whether the machine has a GPU; by default as the settings and this machine say.
    """
    cost = settings.cost
    gpu = has_gpu(settings) if gpu is None else gpu
    second = (cost.gpu_hour if gpu else cost.cpu_hour) / _HOUR
    price = None
    if model is not None:
        price = cost.models.get(model) or cost.models.get(settings.generate.engine.name)
    if price is None:
        return Rates(second=second)
    return Rates(price.input / _MILLION, price.output / _MILLION, second)


def is_priced(settings: Settings) -> bool:
    """Whether the table holds any price."""
    cost = settings.cost
    models = any(price.input or price.output for price in cost.models.values())
    return bool(cost.gpu_hour or cost.cpu_hour or models)


def is_known(settings: Settings, model: str) -> bool:
    """Whether the table says what a language model costs: its tokens, or its machine's time.

    The time of this machine is not what a server takes for its own.
    """
    names = settings.cost.models.keys()
    if model in names or settings.generate.engine.name in names:
        return True
    return settings.generate.engine.name != "openai" and rates_of(settings, model).second > 0


def price_list(settings: Settings) -> dict[str, Any]:
    """All that `rates_of` reads, for a key that depends on it."""
    return {"cost": settings.cost.model_dump(mode="json"), "gpu": has_gpu(settings)}


def estimate_of(
    row: Mapping[str, Any], settings: Settings, *, seconds_per_sample: float | None = None
) -> dict[str, Any]:
    """An estimate of plan.json with GPU-hours and money; nights before may know the seconds better.

    Args:
        row: `samples`, `tokens`, `prompt_tokens`, `seconds`, `fit_seconds`, `model`.
        seconds_per_sample: measured; by default what the strategy says of itself.
    """
    seconds = float(row["seconds"])
    if seconds_per_sample is not None:
        seconds = row["samples"] * seconds_per_sample
    whole = seconds + row["fit_seconds"]
    return {**row, "seconds": round(seconds, 1)} | in_money(
        settings,
        row["model"],
        seconds=whole,
        tokens=row["tokens"],
        prompt_tokens=row["prompt_tokens"],
        gpu=has_gpu(settings),
    )


def in_money(
    settings: Settings,
    model: str | None,
    *,
    seconds: float,
    tokens: float,
    prompt_tokens: float,
    gpu: bool,
) -> dict[str, float | None]:
    """`gpu_hours`, and `money`, which is None where the table holds no price.

    Args:
        gpu: whether the seconds were, or would be, those of a machine with a GPU.
    """
    rates = rates_of(settings, model, gpu=gpu)
    money = rates.money(seconds=seconds, tokens=tokens, prompt_tokens=prompt_tokens)
    return {
        "gpu_hours": round(seconds / _HOUR, 4) if gpu else 0.0,
        "money": round(money, 6) if is_priced(settings) else None,
    }
