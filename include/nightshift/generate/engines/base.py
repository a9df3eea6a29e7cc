"""What runs a language model: prompts in, texts out."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.errors import EngineError

log = logging.getLogger("nightshift.generate")

UNREACHABLE = {"missing": "unreachable"}
"""In a plan, in place of a model that could not be asked for its name."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a text is continued."""

    max_new_tokens: int = 16
    temperature: float = 0.7
    """0 takes the likeliest token, and gives one continuation however many are asked for."""
    top_k: int = 50
    """0: every token may come."""
    per_prompt: int = 1
    """Continuations of each prompt."""
    seed: int = 0
    pattern: str | None = None
    """A regular expression, without anchors, that the whole line must match. A help, no promise: an
    engine that cannot constrain its output writes freely, and who asks parses strictly either way.
    """

    @property
    def count(self) -> int:
        """Continuations that each prompt gets."""
        return 1 if self.temperature == 0 else self.per_prompt


@dataclass(frozen=True, slots=True)
class Generated:
    """Continuations of each prompt, [prompts][per_prompt], and the tokens they took together.

    The tokens are those of the answers, also of answers that were found and not made: the same
    call gives the same counts. `cached` says how many prompts cost nothing this time.
    """

    texts: list[list[str]]
    tokens: int
    prompt_tokens: int = 0
    """Tokens of all prompts, the prefix counted with each of them, as a server bills them."""
    cached: int = 0
    tokens_of: tuple[tuple[int, int], ...] = ()
    """Each prompt's part of `tokens` and of `prompt_tokens`; empty: only the sums are known."""


class Interrupted(EngineError):
    """The engine failed when some prompts were answered: what those have cost is not lost.

    `answered` holds them by place: texts and their part of the tokens (as `Generated.tokens_of`),
    or scores.
    """

    def __init__(self, error: EngineError, answered: Mapping[int, Any]) -> None:
        super().__init__(error.message, hint=error.hint, **error.context)
        self.answered = answered


class Engine(ABC):
    """A loaded language model. Deterministic for the same call, versions, machine and threads."""

    name: str

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that its answers depend on besides the call: part of a chunk's key, cheap to ask."""

    @property
    @abstractmethod
    def model(self) -> dict[str, str]:
        """Name and digest of the model, and its adapter's if it has one, for a sample's lineage."""

    def independent(self, sampling: Sampling) -> bool:  # noqa: ARG002
        """Whether a prompt's answers are its own: the same whoever is asked about beside it.

        Up to rounding: sums of another batch may differ in their last bits, and where two tokens
        are as likely as each other that bit decides. False unless the engine knows better.
        """
        return False

    def constrains(self, sampling: Sampling) -> bool:  # noqa: ARG002
        """Whether the lines are held to `sampling.pattern`, so that answers depend on it."""
        return False

    @abstractmethod
    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        """One line behind each prompt: a continuation ends before its first line break.

        Args:
            prefix: text in front of every prompt, which a backend may read just once.

        Raises:
            EngineError: the model could not be loaded, or the backend failed or hangs.
        """

    @abstractmethod
    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """Log-probability of each continuation behind its prompt, summed over its tokens: [n].

        Raises:
            EngineError: as `generate`.
        """


def described(engine: Callable[[], Engine]) -> dict[str, str]:
    """`Engine.model` for a plan; a model that is missing fails its shards, not the night's plan.

    The error goes to the log alone: with it a plan, and its digest, would depend on the outage.

    Args:
        engine: gives the engine, or the error of making it.
    """
    try:
        return engine().model
    except EngineError as error:
        log.warning("no language model for now, its shards will fail: %s", error)
        return dict(UNREACHABLE)


def lineage_of(engine: Engine) -> dict[str, str]:
    """What a sample says of the engine that wrote it or judged it."""
    known = engine.identity
    adapter = {"adapter": engine.model["adapter"]} if "adapter" in engine.model else {}
    return {
        "engine": f"{engine.name} {known['version']} {known['compute_type']}",
        "model": engine.model["name"],
        "model_digest": engine.model["digest"],
        **adapter,
    }


def first_line(text: str) -> str:
    """What comes before the first line break."""
    return text.split("\n", 1)[0]


def prompt_hash(seed: int, *texts: str) -> int:
    """64 bits of a seed and a prompt's whole text: what its draws depend on, and nothing else."""
    digest = hashlib.sha256(str(seed).encode())
    for text in texts:
        digest.update(b"\x1f" + text.encode(errors="surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big")
