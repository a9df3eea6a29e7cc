"""What generation reads outside the lake: another language model makes another plan.

So do translation models, a WordNet and an installed strategy's version, where the night's
strategies use them, and other prices, but only where the plan is cut by money.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nightshift.errors import EngineError, SettingsError
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.strategies import is_ours, needs_model, strategy_class
from nightshift.generate.text.templates import prompts_digest
from nightshift.generate.text.wordnet import files_of
from nightshift.lake import sha256_of
from nightshift.manifest import digest_of
from nightshift.night import Night
from nightshift.prices import price_list
from nightshift.settings import Settings


def models(night: Night, settings: Settings) -> dict[str, Any]:
    """The digest of the language model, what else strategies read, prices where money is limited.

    The digest is None when no strategy needs a model or none is there.
    """
    prices = {} if settings.generate.budget.money is None else {"prices": price_list(settings)}
    asks = any(map(needs_model, settings.generate.strategies))
    return {"model": _model(settings) if asks else None, **prices, **_besides(settings)}


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


def _besides(settings: Settings) -> dict[str, Any]:
    """What the night's strategies read outside the lake besides the language model.

    Whatever is not set up has no entry; None is what cannot be read: what needs it will say so.
    """
    generate = settings.generate
    found: dict[str, Any] = {}
    translators = [generate.back_translation.there, generate.back_translation.back]
    if "back_translation" in generate.strategies and any(translators):
        found["translators"] = [_translator(folder, settings) for folder in translators]
    if "synonyms" in generate.strategies and generate.synonyms.wordnet is not None:
        found["wordnet"] = _wordnet(generate.synonyms.wordnet)
    installed = {name: _version(name) for name in sorted(generate.strategies) if not is_ours(name)}
    if installed:
        found["installed"] = installed
    return found


def _translator(folder: Path | None, settings: Settings) -> str | None:
    from nightshift.generate.engines.round_trip import Seq2Seq

    try:
        return None if folder is None else Seq2Seq(folder, settings).digest
    except EngineError:
        return None


def _wordnet(folder: Path) -> str | None:
    try:
        return digest_of([sha256_of(path) for path in files_of(folder.expanduser())])
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return strategy_class(name).version
    except SettingsError:
        return None
