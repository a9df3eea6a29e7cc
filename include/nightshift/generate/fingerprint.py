"""What generation reads outside the lake: another language model makes another plan.

So do other prices, but only where the plan is cut by money.
"""

from __future__ import annotations

from typing import Any

from nightshift.errors import EngineError
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.strategies import needs_model
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
    if settings.generate.engine.name == "openai":
        # What a server serves is in its settings, and in every chunk's key.
        return {"model": None, **prices}
    try:
        return {"model": model_source(settings).digest, **prices}
    except EngineError:
        return {"model": None, **prices}  # the shards that need it will say so
