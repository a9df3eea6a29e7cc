"""What a strategy is: one way of making samples.

A strategy is found by its name, in our registry or under the entry point group
`nightshift.strategies`. The planner asks it for its wishes (`plan`) and its prices, cuts both to
the budget, and hands the targets back chunk by chunk (`generate`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa

from nightshift.generate.fits import Learning, Tensors
from nightshift.generate.sources import Sources
from nightshift.manifest import digest_of

WISHES = ("item_id", "user_key", "shortage", "budget")


class Refused(Exception):
    """A strategy found in `fit` that what it would make is worth nothing; the reason in words.

    Its targets are counted as refused, and the night goes on: a refusal is a finding, no failure.
    """


@dataclass(frozen=True, slots=True)
class Price:
    """What one sample costs at most: generated tokens, and seconds on one CPU core."""

    tokens: float = 0.0
    seconds: float = 0.0
    prompt_tokens: float = 0.0
    """Tokens that a language model reads for it; what a server bills beside those it writes."""
    fit_seconds: float = 0.0
    """What `fit` takes before the first sample; once a strategy, whatever its shards."""
    fit_prompt_tokens: float = 0.0
    """What a language model reads in it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What came of one chunk of targets: contracts.SAMPLES, night and shard still null."""

    samples: pa.Table
    dropped: dict[str, int] = field(default_factory=dict)
    """Samples that were wanted and are missing, by reason."""
    tokens: int = 0
    """Written by a language model; a function of the chunk's key, as the samples are."""
    prompt_tokens: int = 0
    """Read by it; the same."""
    cached: int = 0
    """Answers that were found in the lake and not asked for again."""
    seconds: float = 0.0
    """What making it took, by whoever made it."""
    refused: str | None = None
    """Why the strategy would not work at all."""
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was learnt for it, and what that took (`fits.FitCost`), by key; shared by many chunks,
    and so no part of their own seconds and tokens."""


class Strategy(ABC):
    """One way of making samples."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Raised whenever the same targets would give other samples."""
    produces: ClassVar[str]
    """One of contracts.SAMPLE_KINDS."""
    share: ClassVar[float] = 1.0
    """Its part of the sample budget, relative to the other strategies'."""
    scale: ClassVar[int] = 1
    """Its chunks and shards are this many times larger: samples that cost next to nothing."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.seed = sources.settings.generate.seed
        self.learning = Learning()

    @property
    def stamp(self) -> dict[str, pl.Expr]:
        """The columns that say whose a sample is, and that it counts in full."""
        return {
            "kind": pl.lit(self.produces),
            "strategy": pl.lit(self.name),
            "label": pl.lit(1.0),
            "weight": pl.lit(1.0),
        }

    @property
    def own_settings(self) -> dict[str, Any]:
        """What it is configured with: `generate.NAME` where there is such a section."""
        section = getattr(self.sources.settings.generate, self.name, None)
        return {} if section is None else dict(section.model_dump(mode="json"))

    @abstractmethod
    def price(self) -> Price:
        """Of one sample, for the planner."""

    @abstractmethod
    def plan(self, budget: int) -> pl.DataFrame:
        """Targets worth making samples for, the shortest of samples first.

        Args:
            budget: samples that this strategy may make; a hint of how deep to go per target.

        Returns:
            Columns WISHES: item_id, user_key (either may be null), shortage in [0, 1],
            budget (samples wanted). The planner takes from the top until the budget is spent.
        """

    def reads(self, targets: pl.DataFrame) -> Any:
        """What the samples of these targets depend on, besides own settings and the seed.

        Part of the chunk's key; by default the targets and the whole snapshot with its vectors.
        """
        return [targets.select(WISHES).to_dict(as_series=False), self.sources.digest]

    def describe(self) -> dict[str, Any]:
        """What it works with from outside the lake, for plan.json: a model's digest, say."""
        return {"version": self.version}

    def missing(self) -> str | None:
        """What the shop lacks for it ("the shop has no reviews"); None when it can work.

        Asked before `plan`, which is then not asked. Cheap: the whole plan waits for it.
        """
        return None

    def fit(self) -> None:
        """Learn what `generate` needs; called once before the first chunk that is made.

        What takes longer than reading the snapshot belongs into `fitted`.

        Raises:
            Refused: what it would make is worth nothing, and why.
        """
        return

    def fitted(self, make: Callable[[], Tensors], *, reads: Any = None) -> Tensors:
        """What `make` learnt, from the lake where a shard has learnt it already.

        Args:
            make: a function of own settings, seed, version and `reads` alone. What a language
                model reads in it, it says as the tensor `fits.PROMPT_TOKENS`.
            reads: what it learns from; by default the whole snapshot with its vectors.
        """
        key = digest_of(
            {
                "version": self.version,
                "settings": self.own_settings,
                "seed": self.seed,
                "reads": self.sources.digest if reads is None else reads,
            }
        )
        wait = float(self.sources.settings.night.wait_seconds)
        return self.learning.fitted(self.sources.lake, self.name, key, make, wait)

    @abstractmethod
    def generate(self, targets: pl.DataFrame) -> Chunk:
        """The samples of one chunk: a function of its targets, settings, seed and `reads`."""


def count_dropped(reasons: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Counts by reason, zeros left out."""
    return {reason: int(count) for reason, count in reasons if count}
