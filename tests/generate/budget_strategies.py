"""Small strategies for tests of budget and resuming, installed as a package's would be."""

from __future__ import annotations

import os
import time
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nightshift.errors import EngineError
from nightshift.generate import strategies
from nightshift.generate.fits import PROMPT_TOKENS, Tensors
from nightshift.generate.samples import as_samples
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Refused, Strategy

TRACE = "NIGHTSHIFT_TEST_TRACE"
"""A file that every fit and every made chunk is written to; across processes."""


def trace(word: str) -> None:
    path = os.environ.get(TRACE)
    if path:
        with Path(path).open("a") as file:
            file.write(word + "\n")


class Writer(Strategy):
    """Writes `says` tokens a sample where its price says `TOKENS`."""

    name = "writer"
    version = "1"
    produces = "query"
    TOKENS, PROMPT, SECONDS = 10, 100, 1e-3
    says = 10
    pause = 0.0
    fails_at: int | None = None
    refuses = ""

    def price(self) -> Price:
        return Price(tokens=self.TOKENS, seconds=self.SECONDS, prompt_tokens=self.PROMPT)

    def describe(self) -> dict[str, Any]:
        return {"version": self.version, "model": {"name": "made-up", "digest": "0"}}

    def plan(self, budget: int) -> pl.DataFrame:
        return self.sources.snapshot.items.select(
            "item_id",
            user_key=pl.lit(None, pl.String),
            shortage=pl.lit(1.0),
            budget=pl.lit(1),
        ).select(WISHES)

    def fit(self) -> None:
        trace(f"fit {self.name}")
        if self.refuses:
            raise Refused(self.refuses)

    def generate(self, targets: pl.DataFrame) -> Chunk:
        trace(f"chunk {self.name}")
        if self.fails_at is not None:
            type(self).fails_at = self.fails_at - 1
            if self.fails_at < 0:
                raise EngineError("The engine died.", hint="run again")
        time.sleep(self.pause)
        return Chunk(
            as_samples(
                targets.select(
                    "item_id",
                    kind=pl.lit(self.produces),
                    strategy=pl.lit(self.name),
                    text=pl.format("query for {}", "item_id"),
                    label=pl.lit(1.0),
                )
            ),
            tokens=self.says * targets.height,
            prompt_tokens=self.PROMPT * targets.height,
        )


class Learner(Writer):
    """Learns a vector for a while; its samples depend on it."""

    name = "learner"
    lesson = 0.0

    def price(self) -> Price:
        return Price(seconds=self.SECONDS, fit_seconds=2.0)

    def describe(self) -> dict[str, Any]:
        return {"version": self.version}

    def fit(self) -> None:
        self._learnt = self.fitted(self._learn)["w"]

    def _learn(self) -> Tensors:
        trace("fit learner")
        time.sleep(self.lesson)
        rng = np.random.default_rng([self.seed, 3])
        return {"w": rng.normal(size=4).astype(np.float32), PROMPT_TOKENS: np.array([500])}

    def generate(self, targets: pl.DataFrame) -> Chunk:
        made = super().generate(targets)
        weight = float(self._learnt.sum())
        samples = pl.DataFrame(made.samples).with_columns(
            text=pl.format("{} at {}", "text", pl.lit(round(weight, 6)))
        )
        return Chunk(as_samples(samples.drop("sample_id")))


class Other(Writer):
    """One more, for budgets of several strategies."""

    name = "other"


def installed() -> EntryPoints:
    found = {"writer": "Writer", "learner": "Learner", "other": "Other"}
    return EntryPoints(
        EntryPoint(name, f"{__name__}:{cls}", strategies.ENTRY_POINTS)
        for name, cls in found.items()
    )


def install(patch: Any = None) -> None:
    """Let them be found; `patch` is pytest's, or nothing in a process of its own."""
    points = installed()

    def entry_points(**names: str) -> EntryPoints:
        return points.select(**names)

    if patch is None:
        strategies.entry_points = entry_points
    else:
        patch.setattr(strategies, "entry_points", entry_points)
