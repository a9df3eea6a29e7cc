"""A placebo: real stretches of histories, drawn again. What it earns, more weight alone earns.

A stretch ends at a random place of a history and reaches back `max_length` items at most; every
place of every history is as likely as any other.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from nightshift.generate.behaviour import sequences
from nightshift.generate.samples import as_samples
from nightshift.generate.strategies.base import Chunk
from nightshift.generate.strategies.bases.placebo import Placebo


class Upsample(Placebo):
    name = "upsample"
    version = "1"
    produces = "sequence"
    salt = 111

    @property
    def wanted(self) -> int:
        return self.sources.settings.generate.upsample.sequences

    def generate(self, targets: pl.DataFrame) -> Chunk:
        length = self.sources.settings.generate.upsample.max_length
        snapshot = self.sources.snapshot
        row, users, last = self.places(targets)
        first = np.maximum(snapshot.histories.indptr[users], last + 1 - length)
        items = sequences.cut(snapshot.histories, first, last + 1)
        frame = sequences.columns(items, snapshot.items["item_id"]).with_columns(
            user_key=targets["user_key"].gather(row),
            **self.stamp,
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
