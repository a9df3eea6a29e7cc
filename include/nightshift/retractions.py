"""Retractions: which samples must not be learnt from any more.

A retraction is an append-only object, `registry/retractions/000001.json`. The registry's `retract`
writes them and names what was trained; `blend` reads them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import reduce
from operator import and_
from typing import Any

import polars as pl

from nightshift.errors import UsageError
from nightshift.lake import Lake, journal
from nightshift.night import Night
from nightshift.settings import Settings

FOLDER = "registry/retractions"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is retracted; what is given must all hold."""

    strategy: str | None = None
    model: str | None = None
    night: str | None = None
    item: str | None = None

    def mask(self) -> pl.Expr:
        """True for a sample (contracts.SAMPLES) that the rule retracts."""
        parts = []
        if self.strategy is not None:
            parts.append(pl.col("strategy") == self.strategy)
        if self.model is not None:
            model = pl.col("lineage").str.json_path_match("$.model").fill_null("")
            parts.append(model == self.model)
        if self.night is not None:
            parts.append(pl.col("night") == self.night)
        if self.item is not None:
            parts.append((pl.col("item_id") == self.item).fill_null(False))
        if not parts:
            raise UsageError(
                "A retraction without any condition would take every sample.",
                hint="give --strategy, --model, --of-night or --item",
            )
        return reduce(and_, parts)


def rules(lake: Lake) -> list[Rule]:
    """Every retraction so far."""
    known = [field.name for field in fields(Rule)]
    return [
        Rule(**{name: entry[name] for name in known}) for entry in journal.entries(lake, FOLDER)
    ]


def fingerprint(night: Night, settings: Settings) -> list[dict[str, Any]]:
    """The rules as part of a blend's key: what is retracted makes blends stale."""
    return [asdict(rule) for rule in rules(Lake.of(settings))]


def without_retracted(lake: Lake, samples: pl.DataFrame) -> pl.DataFrame:
    """The samples that no rule retracts."""
    for rule in rules(lake):
        samples = samples.filter(~rule.mask())
    return samples
