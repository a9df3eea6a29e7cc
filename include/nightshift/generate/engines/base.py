"""What runs a language model: prompts in, texts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a text is continued."""

    max_new_tokens: int = 16
    temperature: float = 0.7
    """0 takes the likeliest token."""
    top_k: int = 50
    per_prompt: int = 1
    """Continuations of each prompt."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """Continuations of each prompt, [prompts][per_prompt], and the tokens they took together."""

    texts: list[list[str]]
    tokens: int
    prompt_tokens: int = 0
    cached: int = 0


class Engine(ABC):
    """A loaded language model. Deterministic for the same call, versions, machine and threads."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that its answers depend on besides the call: part of a chunk's key, cheap to ask."""

    @property
    @abstractmethod
    def model(self) -> dict[str, str]:
        """Name and digest of the model, for a sample's lineage."""

    @abstractmethod
    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        """One line behind each prompt: a continuation ends before its first line break.

        Args:
            prefix: text in front of every prompt, which a backend may read just once.

        Raises:
            EngineError: the model could not be loaded, or the backend failed.
        """

    @abstractmethod
    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """Log-probability of each continuation behind its prompt, summed over its tokens: [n].

        Raises:
            EngineError: as `generate`.
        """


def first_line(text: str) -> str:
    """What comes before the first line break."""
    return text.split("\n", 1)[0]
