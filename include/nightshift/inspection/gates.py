"""Batch gates: a batch is one strategy's samples of one kind, and it can be bad as a whole.

Rows that pass every rule can still be a bad batch: a strategy that fails most of its rows is
broken, one that writes about a single item or says the same thing a thousand times teaches
nothing but that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.settings import InspectionSettings

MIN_ROWS = 50
"""Shares of one item or of distinct texts mean nothing in a smaller batch."""
_ALMOST_ALL = 1 - 1e-12
"""An item that has every event; its logarithm stays finite."""
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Gate:
    """One figure of a batch against its limit."""

    name: str
    value: float
    limit: float
    passed: bool

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f} (limit {self.limit:.2f})"


def gates(
    batch: pl.DataFrame,
    rejected: npt.NDArray[np.bool_],
    settings: InspectionSettings,
    *,
    has_text: bool,
    more: Callable[[pl.DataFrame], list[Gate]] | None = None,
) -> list[Gate]:
    """The gates of one batch.

    Args:
        batch: one row or more of `item_id`, `user_key`, and `folded` (the normalised text) if
            `has_text`.
        rejected: [rows] the rows that failed a rule; the other gates look at what is left.
        more: gates of this kind alone, over the rows that are left.
    """
    share = float(rejected.mean())
    found = [_at_most("rejected_share", share, settings.max_rejected)]
    left = batch.filter(pl.Series(~rejected))
    if left.height >= MIN_ROWS:
        about = pl.coalesce("item_id", "user_key")  # a profile is about a user, not about an item
        largest = left.select(about).to_series().value_counts()["count"].max()
        assert isinstance(largest, int)
        found.append(_at_most("item_share", largest / left.height, settings.max_item_share))
        if has_text:
            distinct = left["folded"].n_unique() / left.height
            found.append(_at_least("distinct_texts", distinct, settings.min_distinct_texts))
        if more is not None:
            found.extend(more(left))
    return found


def item_gates(
    entries: npt.NDArray[np.int64], events: npt.NDArray[np.int64], settings: InspectionSettings
) -> list[Gate]:
    """Has a generator of behaviour collapsed onto few items, or onto those that nobody takes.

    `distinct_items`: distinct items of the batch, over the number expected in as many events of
    real customers (rarefaction: Hurlbert, 1971). `coverage`: what share of real events is of those
    items, over the share expected likewise. Real customers repeat themselves and cluster, so an
    honest batch lies somewhat below 1, and one with more new items above.

    Args:
        entries: item codes of all sequences, one after the other.
        events: [items] how often real customers had each.
    """
    share = events / max(int(events.sum()), 1)
    seen = -np.expm1(len(entries) * np.log1p(-np.minimum(share, _ALMOST_ALL)))
    items = np.unique(entries)
    distinct = len(items) / max(float(seen.sum()), 1.0)
    covered = float(share[items].sum()) / max(float((share * seen).sum()), _TINY)
    return [
        _at_least("distinct_items", distinct, settings.min_distinct_items),
        _at_least("coverage", covered, settings.min_coverage),
    ]


def _at_most(name: str, value: float, limit: float) -> Gate:
    return Gate(name, round(value, 4), limit, value <= limit)


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name, round(value, 4), limit, value >= limit)
