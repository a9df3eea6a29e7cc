"""Language models behind one interface; `generate.engine.name` chooses the backend."""

from __future__ import annotations

from nightshift.generate.engines.adapter import Adapter
from nightshift.generate.engines.base import Engine
from nightshift.lake import Lake
from nightshift.settings import Settings


def create(
    settings: Settings,
    *,
    lake: Lake | None = None,
    adapter: Adapter | None = None,
) -> Engine:
    """The engine that the settings name; nothing is loaded yet.

    Args:
        adapter: what a shop's own training adds to the model.

    Raises:
        EngineError: no model is installed or configured.
    """
    if settings.generate.engine.name == "ctranslate2":
        from nightshift.generate.engines.ctranslate2_engine import CTranslate2Engine

        return CTranslate2Engine(settings, adapter=adapter)
    from nightshift.generate.engines.transformers_engine import TransformersEngine

    return TransformersEngine(settings, adapter=adapter)
