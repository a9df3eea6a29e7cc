"""What stands where a language model stands, where a test needs to know what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nightshift.generate.engines.base import Generated, Sampling

QUESTION = re.compile(
    r"Bought: (?P<bought>[^\n]+)\nA: (?P<a>[^\n]+)\nB: (?P<b>[^\n]+)\nBought next:\Z"
)
Prefer = Callable[[str, str, str], float]
"""(history, A, B) -> log-odds of A."""


class _StandIn:
    name = "stand-in"

    def __init__(self) -> None:
        self.identity = {"engine": self.name, "version": "0", "compute_type": "none"}
        self.model = {"name": self.name, "digest": "0" * 64}
        self.prompts: list[str] = []

    def constrains(self, sampling: Sampling) -> bool:
        return False


class Writer(_StandIn):
    """Answers each prompt with what `answer` makes of it; keeps the prompts as a model saw them."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__()
        self._answer = answer

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        whole = [prefix + prompt for prompt in prompts]
        self.prompts += whole
        texts = [[self._answer(prompt)] * sampling.per_prompt for prompt in whole]
        return Generated(texts, len(prompts))


class Chooser(_StandIn):
    """Scores " A" and " B" behind a choice; strict about what it is asked."""

    def __init__(self, prefer: Prefer, *, bias: float = 0.0) -> None:
        super().__init__()
        self._prefer, self._bias = prefer, bias

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        assert len(prompts) == len(continuations)
        self.prompts += prompts
        return np.array([self._one(p, c) for p, c in zip(prompts, continuations, strict=True)])

    def _one(self, prompt: str, continuation: str) -> float:
        assert continuation in (" A", " B")
        asked = QUESTION.search(prompt)
        assert asked is not None, prompt[-300:]
        odds = self._prefer(asked["bought"], asked["a"], asked["b"]) + self._bias
        return float(-np.logaddexp(0.0, -odds if continuation == " A" else odds))
