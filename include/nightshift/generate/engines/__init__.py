"""Language models behind one interface; `generate.engine.name` chooses the backend."""

from __future__ import annotations

import logging

from nightshift.generate.engines.adapter import Adapter
from nightshift.generate.engines.base import Engine
from nightshift.lake import Lake
from nightshift.settings import Settings

log = logging.getLogger("nightshift.generate")


def create(
    settings: Settings, *, lake: Lake | None = None, adapter: Adapter | None = None
) -> Engine:
    """The engine that the settings name; nothing is loaded yet.

    Args:
        lake: where conversions of the model are shared with other machines.
        adapter: what the shop's own training adds to the model.

    Raises:
        EngineError: no model is installed or configured.
    """
    name = settings.generate.engine.name
    if name == "openai":
        from nightshift.generate.engines.openai_engine import OpenAIEngine

        if adapter is not None:
            log.warning(
                "generate.engine.name=openai: adapter %s is left out, the server serves what it "
                "serves",
                adapter.digest[:16],
            )
        return OpenAIEngine(settings)
    if name == "vllm":
        from nightshift.generate.engines.vllm_engine import VllmEngine

        return VllmEngine(settings, lake=lake, adapter=adapter)
    if name == "transformers":
        from nightshift.generate.engines.transformers_engine import TransformersEngine

        return TransformersEngine(settings, lake=lake, adapter=adapter)
    from nightshift.generate.engines.ctranslate2_engine import CTranslate2Engine

    return CTranslate2Engine(settings, lake=lake, adapter=adapter)
