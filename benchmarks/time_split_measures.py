"""What a split in time says of its arms: means, and intervals paired by customer."""

from __future__ import annotations

from typing import Any

import polars as pl

from nightshift.intervals import Interval, paired_bootstrap

METRICS = ("ndcg@10", "recall@10")


def mean(frame: pl.DataFrame, slice_: str, metric: str) -> float:
    part = frame.filter((pl.col("slice") == slice_) & (pl.col("metric") == metric))
    return float(part["value"].mean() or 0.0)  # type: ignore[arg-type]


def rows_of(frame: pl.DataFrame, data: str, ours: tuple[str, ...]) -> list[dict[str, Any]]:
    """Means of every arm, and what ours have over the others, paired by user.

    Each of `ours` is compared with the ones before it, too.
    """
    averaged = frame.group_by("arm", "user_key", "slice", "metric").agg(pl.col("value").mean())
    rows: list[dict[str, Any]] = []
    for (slice_, metric), part in sorted(averaged.group_by("slice", "metric")):
        if metric not in METRICS:
            continue
        wide = part.pivot(on="arm", index="user_key", values="value").sort("user_key")
        values = {arm: wide[arm].to_numpy() for arm in wide.columns if arm != "user_key"}
        base = {"data": data, "slice": slice_, "metric": metric, "n": wide.height}
        for arm, theirs in values.items():
            rows.append(base | {"arm": arm, "value": round(float(theirs.mean()), 5)})
            rows += [
                base
                | {"arm": mine, "against": arm}
                | _compared(paired_bootstrap(values[mine] - theirs, theirs, seed=0))
                for place, mine in enumerate(ours)
                if arm not in ours[place:]
            ]
    return rows


def _compared(found: Interval) -> dict[str, Any]:
    def rounded(*values: float | None) -> list[float] | None:
        return None if None in values else [round(float(v or 0), 5) for v in values]

    return {
        "value": round(found.value, 5),
        "value_ci95": rounded(found.value_low, found.value_high),
        "relative": None if found.relative is None else round(found.relative, 4),
        "ci95": rounded(found.low, found.high),
    }
