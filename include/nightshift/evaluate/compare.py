"""From values per user to result rows: means of each arm, and paired differences with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from nightshift.contracts import SLICES, ResultRow
from nightshift.evaluate.arms import CHAMPION, UNREFRESHED
from nightshift.evaluate.baselines import BASELINES
from nightshift.evaluate.search import BM25, ENCODER, FUSION
from nightshift.intervals import Interval, paired_bootstraps
from nightshift.settings import EvaluateSettings
from nightshift.stages import CHALLENGER, CONTROL

Pair = tuple[str, str]
DETECTABLE = "minimum_detectable:"
"""Prefix of the metric of a row whose `value` is the smallest relative lift that would show."""
RIVALS = (*BASELINES, BM25, ENCODER, FUSION)
"""Rankers that learn nothing at night, of users and of queries: only the control is set beside."""
_BETWEEN = "\t"  # in no arm's and no metric's name


def pairs(arms: Iterable[str]) -> list[Pair]:
    """(arm, against) of every comparison that a night reports."""
    present = list(dict.fromkeys(arms))
    models = [a for a in present if a not in (CONTROL, CHALLENGER, CHAMPION, UNREFRESHED)]
    placebos = [a for a in models if a not in RIVALS]
    wanted = [
        (CHALLENGER, CONTROL),
        *((placebo, CONTROL) for placebo in placebos),
        *((CHALLENGER, placebo) for placebo in placebos),
        (CONTROL, CHAMPION),
        (CHALLENGER, CHAMPION),
        (CHAMPION, UNREFRESHED),
        *((CONTROL, baseline) for baseline in models if baseline in RIVALS),
    ]
    return [(a, b) for a, b in wanted if a in present and b in present]


def means(frame: pl.DataFrame) -> list[ResultRow]:
    """The mean of each (arm, slice, metric) over users, seeds averaged; by seed where there are
    several.
    """
    keys = ["arm", "slice", "metric"]
    rows = [_mean_row(r) for r in _average(_over_seeds(frame), keys).iter_rows(named=True)]
    several = frame.filter(pl.col("seed").n_unique().over("arm") > 1)
    rows += [_mean_row(r) for r in _average(several, [*keys, "seed"]).iter_rows(named=True)]
    return rows


def comparisons(frame: pl.DataFrame, settings: EvaluateSettings) -> list[ResultRow]:
    """Paired rows of `contracts.USER_METRICS` with a further column `night`.

    Seeds are averaged per user first; users are resampled with all their nights. With fewer than
    `min_users` users a row has its values and no interval.
    """
    wanted = pairs(frame["arm"].unique().sort().to_list())
    averaged = _over_seeds(frame)
    metrics = frame["metric"].unique().sort().to_list()
    rows: list[ResultRow] = []
    for name in SLICES:
        part = averaged.filter(pl.col("slice") == name)
        if part.height:
            rows += _slice_rows(part, name, wanted, metrics, settings)
    return rows


def _slice_rows(
    part: pl.DataFrame,
    name: str,
    wanted: Sequence[Pair],
    metrics: Sequence[str],
    settings: EvaluateSettings,
) -> Iterator[ResultRow]:
    wide = (
        part.with_columns(column=pl.concat_str("arm", "metric", separator=_BETWEEN))
        .pivot(on="column", index=["night", "user_key"], values="value")
        .sort("night", "user_key")
    )
    found, differences, baselines = [], [], []
    for arm, against in wanted:
        for metric in metrics:
            ours, theirs = f"{arm}{_BETWEEN}{metric}", f"{against}{_BETWEEN}{metric}"
            if ours not in wide.columns or theirs not in wide.columns:
                continue
            both = wide[ours].is_not_null() & wide[theirs].is_not_null()
            if not both.any():
                continue
            difference = (wide[ours] - wide[theirs]).cast(pl.Float64).fill_null(float("nan"))
            found.append((arm, against, metric, wide.filter(both)["user_key"].n_unique()))
            differences.append(difference.to_numpy())
            baselines.append(wide[theirs].cast(pl.Float64).fill_null(float("nan")).to_numpy())
    if not found:
        return
    enough = [j for j, (*_, users) in enumerate(found) if users >= settings.min_users]
    intervals: dict[int, Interval] = {}
    if enough:
        made = paired_bootstraps(
            np.stack([differences[j] for j in enough], axis=1),
            np.stack([baselines[j] for j in enough], axis=1),
            resamples=settings.resamples,
            seed=settings.bootstrap_seed,
            clusters=wide["user_key"].to_numpy() if wide["night"].n_unique() > 1 else None,
        )
        intervals = dict(zip(enough, made, strict=True))
    for j, (arm, against, metric, users) in enumerate(found):
        yield from _rows(
            (arm, against, name, metric, users), differences[j], baselines[j], intervals.get(j)
        )


def _rows(
    place: tuple[str, str, str, str, int],
    difference: np.ndarray[tuple[int], np.dtype[np.float64]],
    baseline: np.ndarray[tuple[int], np.dtype[np.float64]],
    interval: Interval | None,
) -> Iterator[ResultRow]:
    """One comparison; with an interval also the smallest lift it could have seen."""
    arm, against, name, metric, users = place
    value = float(np.nanmean(difference))
    level = float(baseline[~np.isnan(difference)].mean())
    low = interval.low if interval else None
    high = interval.high if interval else None
    yield ResultRow(
        arm=arm,
        against=against,
        slice=name,
        metric=metric,
        value=value,
        relative=value / level if level > 0 else None,
        ci95=(low, high) if low is not None and high is not None else None,
        value_ci95=(interval.value_low, interval.value_high) if interval else None,
        n=users,
    )
    if interval is not None and interval.detectable is not None:
        yield ResultRow(
            arm=arm,
            against=against,
            slice=name,
            metric=f"{DETECTABLE}{metric}",
            value=interval.detectable,
            n=users,
        )


def _over_seeds(frame: pl.DataFrame) -> pl.DataFrame:
    keys = ["night", "arm", "slice", "metric", "user_key"]
    ordered = frame.sort(*keys, "seed")
    return ordered.group_by(keys, maintain_order=True).agg(pl.col("value").mean())


def _average(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return (
        frame.sort(*keys, "night", "user_key")
        .group_by(keys, maintain_order=True)
        .agg(pl.col("value").mean(), n=pl.col("user_key").n_unique())
    )


def _mean_row(row: dict[str, object]) -> ResultRow:
    return ResultRow(**row)  # type: ignore[arg-type]  # the columns are the fields
