"""What generation reads outside the lake: another language model makes another plan.

So do other prices, but only where the plan is cut by money.
"""

from __future__ import annotations

from typing import Any

from nightshift.errors import EngineError
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.strategies import needs_model
from nightshift.generate.text.templates import prompts_digest
from nightshift.night import Night
from nightshift.prices import price_list
from nightshift.settings import Settings


def models(night: Night, settings: Settings) -> dict[str, Any]:
    """The digest of the language model, and the prices where money is limited.

    The digest is None when no strategy needs a model or none is there.
    """
    prices = {} if settings.generate.budget.money is None else {"prices": price_list(settings)}
    if not any(map(needs_model, settings.generate.strategies)):
        return {"model": None, **prices}
    return {"model": _model(settings), **prices}


def model_and_prompts(night: Night, settings: Settings) -> dict[str, str | None]:
    """The language model, whoever needs it, and the prompts and pairs that it would be taught."""
    return {"model": _model(settings), "prompts": prompts_digest()}


def _model(settings: Settings) -> str | None:
    if settings.generate.engine.name == "openai":
        return None  # what a server serves is in its settings, and in every chunk's key
    try:
        return model_source(settings).digest
    except EngineError:
        return None  # what needs it will say so
