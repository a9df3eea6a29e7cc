"""What generation reads outside the lake: another language model makes another plan."""

from __future__ import annotations

from nightshift.errors import EngineError
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.strategies import needs_model
from nightshift.night import Night
from nightshift.settings import Settings


def models(night: Night, settings: Settings) -> dict[str, str | None]:
    """The digest of the language model; None when no strategy needs one or none is there."""
    if not any(map(needs_model, settings.generate.strategies)):
        return {"model": None}
    return language_model(night, settings)


def language_model(night: Night, settings: Settings) -> dict[str, str | None]:
    """The digest of the language model, whoever needs it; None when none is there."""
    try:
        return {"model": model_source(settings).digest}
    except EngineError:
        return {"model": None}  # what needs it will say so
