"""What the engines that load a model into this process share."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from nightshift.generate.engines.adapter import Adapter
from nightshift.generate.engines.base import Engine
from nightshift.generate.engines.model_files import model_source
from nightshift.settings import Settings


class LocalEngine(Engine):
    """An engine over model files of this machine; nothing is loaded before it is asked.

    Raises:
        EngineError: no model is installed or configured.
    """

    compute_type: ClassVar[str]

    def __init__(self, settings: Settings, *, adapter: Adapter | None = None) -> None:
        self.settings = settings
        self.adapter = adapter
        self._source = model_source(settings)

    @property
    @abstractmethod
    def versions(self) -> str:
        """Versions of the backend."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        adapted = {} if self.adapter is None else {"adapter": self.adapter.digest}
        return adapted | {
            "engine": self.name,
            "version": self.versions,
            "model": self._source.digest,
            "compute_type": self.compute_type,
            "threads": self.settings.compute.threads,
            "batch": self.settings.generate.engine.batch,
        }

    @cached_property
    def model(self) -> dict[str, str]:
        adapted = {} if self.adapter is None else {"adapter": self.adapter.digest}
        return {"name": self._source.name, "digest": self._source.digest} | adapted
