"""The trailing nights of one recipe: a verdict judges a recipe, not a night."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from nightshift.contracts import ResultRow
from nightshift.lake import Lake
from nightshift.manifest import Manifest

USER_METRICS, RESULTS, POOLED = "user_metrics.parquet", "results.json", "pooled.json"
BEYOND = ("coverage@10", "gini@10", "novelty@10", "boosted_share@10")
"""Figures of all lists of a night together: pooled as the mean of the nights."""


def trailing(
    lake: Lake, previous: Manifest | None, *, recipe_id: str, nights: int
) -> list[Manifest]:
    """Evaluations before tonight's, latest first, while they judge the same recipe.

    Follows each evaluation's own input `previous`, so it depends on tonight's parent alone. Ends
    after `nights` - 1 of them (tonight's is one), or where retention has removed one.
    """
    found: list[Manifest] = []
    while previous is not None and len(found) < nights - 1:
        if previous.stats["recipe_id"] != recipe_id:
            break
        found.append(previous)
        ref = previous.inputs.get("previous")
        previous = lake.at_key(ref.dataset, ref.partition, ref.key) if ref else None
    return found


def user_metrics_of(lake: Lake, evaluations: Iterable[Manifest]) -> list[pl.DataFrame]:
    """contracts.USER_METRICS of each night, with its `night`."""
    return [lake.read(m, USER_METRICS).with_columns(night=pl.lit(m.partition)) for m in evaluations]


def beyond_accuracy(
    lake: Lake, evaluations: Iterable[Manifest], tonight: list[ResultRow]
) -> list[ResultRow]:
    """Means over the nights of each arm's figures in `BEYOND`; `n` adds up."""
    columns = ["arm", "slice", "metric", "value", "n"]
    schema = dict(
        zip(columns, (pl.String, pl.String, pl.String, pl.Float64, pl.Int64), strict=True)
    )
    rows = [{name: getattr(row, name) for name in columns} for row in tonight]
    for manifest in evaluations:
        rows += [{name: r[name] for name in columns} for r in lake.read_json(manifest, RESULTS)]
    frame = pl.DataFrame(rows, schema=schema).filter(pl.col("metric").is_in(BEYOND))
    mean = frame.group_by("arm", "slice", "metric", maintain_order=True).agg(
        pl.col("value").mean(), pl.col("n").sum()
    )
    return [ResultRow(**row) for row in mean.iter_rows(named=True)]
