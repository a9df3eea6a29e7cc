"""What the engines that load a model into this process share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from nightshift.generate.engines.adapter import Adapter
from nightshift.generate.engines.base import Engine, Generated, Sampling
from nightshift.generate.engines.bounded import Worker
from nightshift.generate.engines.model_files import hf_folder, model_source
from nightshift.generate.engines.tokens import Tokens
from nightshift.lake import Lake
from nightshift.settings import Settings

T = TypeVar("T")


class LocalEngine(Engine):
    """An engine over model files of this machine; nothing is loaded before it is asked.

    Args:
        lake: where conversions are shared with other machines; None: this machine's alone.

    Raises:
        EngineError: no model is installed or configured.
    """

    compute_type: str
    """What the products of the weights are computed in."""
    revision: ClassVar[str] = "2"
    """Raised whenever the same call gives other answers."""

    def __init__(
        self, settings: Settings, *, lake: Lake | None = None, adapter: Adapter | None = None
    ) -> None:
        self.settings = settings
        self._source = model_source(settings)
        self._lake, self._adapter = lake, adapter

    @property
    @abstractmethod
    def versions(self) -> str:
        """Versions of the backend."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "version": self.versions,
            "revision": self.revision,
            "model": self._source.digest,
            "compute_type": self.compute_type,
            "threads": self.settings.compute.threads,
            "batch": self.settings.generate.engine.batch,
            "batch_tokens": self.settings.generate.engine.batch_tokens,
            **self._adapted,
        }

    @cached_property
    def model(self) -> dict[str, str]:
        return {"name": self._source.name, "digest": self._source.digest, **self._adapted}

    @property
    def _adapted(self) -> dict[str, str]:
        return {} if self._adapter is None else {"adapter": self._adapter.digest}

    def _folder(self) -> Path:
        """Of the model files, in the backend's own format."""
        return hf_folder(self.settings, lake=self._lake, adapter=self._adapter)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._folder())

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        if not prompts:
            return Generated([], 0)
        self._load()
        return self._bounded(lambda: self._generate(prompts, sampling, prefix))

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        if not prompts:
            return np.zeros(0)
        self._load()
        return self._bounded(lambda: self._score(prompts, continuations))

    def _load(self) -> None:
        """What must happen in the caller's thread, before a call that is bounded."""
        return

    def _encoded(self, prompts: Sequence[str], prefix: str) -> tuple[list[int], list[list[int]]]:
        """Tokens that all rows have in front, and each row's own.

        The model goes on from a row's last token, so every row has one: the prefix's last, or the
        end of another text.
        """
        head = self._tokens.encode([prefix])[0] if prefix else []
        head, start = head[:-1], head[-1:]
        rows = self._tokens.encode(prompts)
        return head, [start + row or self._tokens.line_ends[:1] for row in rows]

    def _fitting(self, width: int, count: int) -> int:
        """Prompts of a batch: `batch`, or as many as attend to `batch_tokens` tokens together.

        Args:
            width: tokens of a prompt, its prefix and its continuation.
            count: continuations of a prompt.
        """
        own = self.settings.generate.engine
        return max(1, min(own.batch, own.batch_tokens // max(1, count * width)))

    @abstractmethod
    def _generate(self, prompts: Sequence[str], sampling: Sampling, prefix: str) -> Generated:
        """`generate`, with a prompt at least."""

    @abstractmethod
    def _score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """`score`, with a prompt at least."""

    @cached_property
    def _worker(self) -> Worker:
        return Worker()

    def _bounded(self, call: Callable[[], T]) -> T:
        """`call`, with an end: a backend that hangs is an EngineError."""
        return self._worker.run(call, self.settings.generate.engine.call_seconds, self.name)
