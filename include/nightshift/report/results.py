"""Picking figures out of result rows (contracts.ResultRow as JSON)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nightshift.contracts import SLICES
from nightshift.stages import CHALLENGER, CONTROL

Row = Mapping[str, Any]
HEADLINE_METRIC = "ndcg@10"
PLACEBOS = ("upsample", "random_pairs")
LIVE = ("champion", "unrefreshed")


def pick(
    rows: Iterable[Row],
    *,
    arm: str,
    slice_: str,
    metric: str = HEADLINE_METRIC,
    against: str | None = None,
) -> Row | None:
    """The row of an arm (of a comparison, with `against`); pooled over seeds where there is one."""
    found = [
        row
        for row in rows
        if row["arm"] == arm
        and row["slice"] == slice_
        and row["metric"] == metric
        and row.get("against") == against
    ]
    return min(found, key=lambda row: row.get("seed") is not None, default=None)


def mean_of(
    rows: Iterable[Row], *, arm: str, slice_: str, metric: str = HEADLINE_METRIC
) -> float | None:
    """An arm's value: its row over all seeds, or the mean of its rows by seed."""
    values = [
        row
        for row in rows
        if (row["arm"], row["slice"], row["metric"]) == (arm, slice_, metric)
        and row.get("against") is None
    ]
    whole = [row["value"] for row in values if row.get("seed") is None]
    chosen = whole[:1] or [row["value"] for row in values]
    return sum(chosen) / len(chosen) if chosen else None


def slices_of(rows: Iterable[Row], metric: str = HEADLINE_METRIC) -> list[str]:
    """Slices that have a figure for `metric`, in the order of the contract."""
    present = {row["slice"] for row in rows if row["metric"] == metric}
    return [name for name in SLICES if name in present] + sorted(present - set(SLICES))


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """Metrics of the arms: the headline first, then as the rows have them."""
    seen = dict.fromkeys(row["metric"] for row in rows)
    return sorted(seen, key=lambda metric: metric != HEADLINE_METRIC)


def arms_of(rows: Iterable[Row]) -> list[str]:
    """Arms with figures of their own: tonight's, what was live, placebos, then the baselines."""
    seen = dict.fromkeys(row["arm"] for row in rows if row.get("against") is None)
    order = [CONTROL, CHALLENGER, *LIVE, *PLACEBOS]
    return sorted(seen, key=lambda arm: order.index(arm) if arm in order else len(order))


def lift_row(rows: Iterable[Row], slice_: str, metric: str = HEADLINE_METRIC) -> Row | None:
    """Challenger against control."""
    return pick(rows, arm=CHALLENGER, against=CONTROL, slice_=slice_, metric=metric)
