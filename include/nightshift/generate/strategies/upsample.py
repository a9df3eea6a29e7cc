"""A placebo: real stretches of histories, drawn again. What it earns, more weight alone earns.

A stretch ends at a random place of a history and reaches back `max_length` items at most; every
place of every history is as likely as any other.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.behaviour.real_stretches import draw_places, wishes_by_activity
from nightshift.generate.samples import as_samples
from nightshift.generate.strategies.base import Chunk, Price, Strategy

_SECONDS_PER_SAMPLE = 5e-4
"""Measured on one core."""
_IN_FRONT = 1
"""A sequence holds two items or more."""
_SALT = 111


class Upsample(Strategy):
    name = "upsample"
    version = "1"
    produces = "sequence"
    scale = 10

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        total = self.sources.settings.generate.upsample.sequences
        return wishes_by_activity(self.sources, total, in_front=_IN_FRONT, salt=_SALT)

    def generate(self, targets: pl.DataFrame) -> Chunk:
        length = self.sources.settings.generate.upsample.max_length
        snapshot = self.sources.snapshot
        row, users, last = draw_places(self.sources, targets, in_front=_IN_FRONT, salt=_SALT)
        first = np.maximum(snapshot.histories.indptr[users], last + 1 - length)
        items = sequences.cut(snapshot.histories, first, last + 1)
        frame = sequences.columns(items, snapshot.items["item_id"]).with_columns(
            user_key=targets["user_key"].gather(row),
            kind=pl.lit(self.produces),
            strategy=pl.lit(self.name),
            label=pl.lit(1.0),
            weight=pl.lit(1.0),
            scores=pl.lit("{}"),
            lineage=pl.struct(
                version=pl.lit(self.version),
                seed=pl.lit(self.seed),
                # Of the user's history, so that a stretch can be found again.
                first=pl.Series(first - snapshot.histories.indptr[users]),
            ).struct.json_encode(),
        )
        samples = as_samples(frame)
        copies = frame.height - samples.num_rows  # a customer who does the same again
        return Chunk(samples, {"copies": copies} if copies else {})
