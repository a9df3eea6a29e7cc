"""What generation reads outside the lake: another language model makes another plan."""

from __future__ import annotations

from nightshift.errors import EngineError
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.strategies import needs_model
from nightshift.generate.templates import prompts_digest
from nightshift.night import Night
from nightshift.settings import Settings


def models(night: Night, settings: Settings) -> dict[str, str | None]:
    """The digest of the language model; None when no strategy needs one or none is there."""
    if not any(map(needs_model, settings.generate.strategies)):
        return {"model": None}
    return {"model": _model(settings)}


def model_and_prompts(night: Night, settings: Settings) -> dict[str, str | None]:
    """The language model, whoever needs it, and the prompts and pairs that it would be taught."""
    return {"model": _model(settings), "prompts": prompts_digest()}


def _model(settings: Settings) -> str | None:
    try:
        return model_source(settings).digest
    except EngineError:
        return None  # what needs it will say so
