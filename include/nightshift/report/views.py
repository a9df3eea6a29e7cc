"""Figures as the page shows them: rows with their plots, in the order a reader wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from nightshift.report import charts
from nightshift.report.charts import Mark, NightPoint
from nightshift.report.costs import PER_ACCEPTED
from nightshift.report.drift import OTHER
from nightshift.report.results import PLACEBOS, Row, arms_of, lift_row, mean_of, pick, slices_of
from nightshift.report.words import (
    bill,
    count,
    duration,
    figure,
    readable,
)
from nightshift.stages import CONTROL

FOREST_METRICS = ("ndcg@10", "recall@10")
# Columns of the table of arms: (slice, metric, is more better; None: neither is).
ARM_COLUMNS = (
    ("overall", "ndcg@10", True),
    ("overall", "recall@10", True),
    ("overall", "mrr", True),
    ("overall", "auc_impressions", True),
    ("overall", "auc_popularity_matched", True),
    ("warm", "ndcg@10", True),
    ("cold", "recall@10", True),
    ("overall", "coverage@10", True),
    ("overall", "coverage", True),
    ("overall", "gini@10", False),
    ("overall", "gini", False),
    ("head_queries", "ndcg@10", True),
    ("tail_queries", "ndcg@10", True),
)


def date_words(night: Mapping[str, Any]) -> str:
    """`Monday, 20 November 2017`, or both ends of a longer night."""
    start, end = (datetime.fromisoformat(night[key]) for key in ("start", "end"))
    if night["key"] == f"{start:%Y-%m-%d}":
        return f"{start:%A}, {start.day} {start:%B %Y}"
    return f"{start.day} {start:%B %Y} to {end.day} {end:%B %Y}"


# --- the lift ---------------------------------------------------------------------------------


def forests(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One forest plot a metric: challenger against control per slice, placebos beside."""
    pooled, tonight = evaluation["pooled"], evaluation["results"]
    built = (_forest(metric, pooled, tonight) for metric in FOREST_METRICS)
    return [forest for forest in built if forest is not None]


def _forest(metric: str, pooled: Sequence[Row], tonight: Sequence[Row]) -> dict[str, Any] | None:
    rows = []
    for name in slices_of([*pooled, *tonight], metric):
        marks = slice_marks(name, metric, pooled, tonight)
        best = lift_row(pooled, name, metric) or lift_row(tonight, name, metric)
        if best is not None:
            note = None if marks else _absolute(best)
            rows.append({"slice": name, "n": best["n"], "marks": marks, "note": note})
    if not rows:
        return None
    scale = charts.forest_scale([mark for row in rows for mark in row["marks"]])
    return {
        "metric": metric,
        "axis": charts.forest_axis(scale),
        "rows": [row | {"svg": charts.forest_row(scale, row["marks"])} for row in rows],
        "legend": list({m.label: m.role for row in rows for m in row["marks"]}.items()),
    }


def slice_marks(
    name: str, metric: str, pooled: Sequence[Row], tonight: Sequence[Row]
) -> list[Mark]:
    """Pooled lift, tonight's where it is another, and each placebo's."""
    whole, alone = lift_row(pooled, name, metric), lift_row(tonight, name, metric)
    marks = []
    if whole is not None and whole.get("relative") is not None:
        single = alone is not None and alone["n"] == whole["n"]
        marks.append(_mark("pooled", "Challenger" if single else "Challenger, pooled", whole))
        alone = None if single else alone
    if alone is not None and alone.get("relative") is not None:
        marks.append(_mark("tonight", "Challenger, this night", alone))
    for placebo in PLACEBOS:
        row = pick(pooled, arm=placebo, against=CONTROL, slice_=name, metric=metric) or pick(
            tonight, arm=placebo, against=CONTROL, slice_=name, metric=metric
        )
        if row is not None and row.get("relative") is not None:
            marks.append(_mark("placebo", f"Placebo: {readable(placebo).lower()}", row))
    return marks


def _absolute(row: Row) -> str:
    """A difference that has no relative lift because the control scores zero."""
    bounds = row.get("value_ci95")
    words = f"control 0; {row['value']:+.4f}"
    return f"{words} [{bounds[0]:+.4f}, {bounds[1]:+.4f}]" if bounds else words


def _mark(role: str, label: str, row: Row) -> Mark:
    ci95 = row.get("ci95")
    return Mark(role, label, row["relative"], (ci95[0], ci95[1]) if ci95 else None)


def history(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The trailing nights as a plot; None while there is but one night with figures."""
    points = [
        NightPoint(
            label=_short_date(row["night"]),
            tonight=row["tonight"]["relative"],
            tonight_ci95=_ends(row["tonight"]["ci95"]),
            pooled=row["pooled"]["relative"],
            pooled_ci95=_ends(row["pooled"]["ci95"]),
            promoted=row["decision"] == "promoted",
        )
        for row in rows
    ]
    judged = sum(p.tonight is not None or p.pooled is not None for p in points)
    return charts.history_chart(points) if judged > 1 else None


def _ends(ci95: Sequence[float] | None) -> tuple[float, float] | None:
    return (ci95[0], ci95[1]) if ci95 else None


def _short_date(key: str) -> str:
    day = datetime.fromisoformat(key.partition("-2")[0] if "T" in key else key)
    return f"{day.day} {day:%b}"


def arm_table(results: Sequence[Row]) -> dict[str, Any]:
    """Every arm and baseline with its own figures; the best of a column is marked."""
    arms = arms_of(results)
    columns = []
    for slice_, metric, more_is_better in ARM_COLUMNS:
        values = [mean_of(results, arm=arm, slice_=slice_, metric=metric) for arm in arms]
        known = [value for value in values if value is not None]
        if known:
            winner = max(known) if more_is_better else min(known)
            columns.append(((slice_, metric), values, winner if len(set(known)) > 1 else None))
    return {
        "columns": [{"slice": s, "metric": m} for (s, m), _, _ in columns],
        "rows": [
            {
                "arm": arm,
                "cells": [
                    {
                        "text": figure(values[index]),
                        "best": best is not None and values[index] == best,
                    }
                    for _, values, best in columns
                ],
            }
            for index, arm in enumerate(arms)
        ],
    }


# --- samples, drift, time ---------------------------------------------------------------------


def sample_bars(strategies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Strategies with a bar of accepted, quarantined and dropped, on one scale."""
    rows = [dict(row) for row in strategies]
    for row in rows:
        row["dropped_rows"] = sum(row["dropped"].values())
    longest = max((r["accepted"] + r["quarantined"] + r["dropped_rows"] for r in rows), default=0)
    for row in rows:
        parts = [
            ("accepted", row["accepted"]),
            ("quarantined", row["quarantined"]),
            ("dropped", row["dropped_rows"]),
        ]
        said = ", ".join(f"{count(amount)} {role}" for role, amount in parts)
        row["svg"] = charts.stacked_bar(parts, longest, label=said)
    return rows


def cost_table(samples: Mapping[str, Any]) -> dict[str, Any]:
    """A row a strategy and one for all: estimated, took, per accepted; a list of words a cell."""
    rows, whole = samples["strategies"], samples["cost"]
    currency = whole["currency"]
    table = [
        {
            "name": readable(row["strategy"]),
            "cells": [
                bill(row["estimate"] or {}, currency),
                bill(row, currency),
                bill({name: row[f"{name}_per_accepted"] for name in PER_ACCEPTED}, currency),
            ],
        }
        for row in rows
    ]
    total = [bill(whole[name], currency) for name in ("estimate", "spent", "per_accepted")]
    return {
        "rows": [*table, {"name": "All", "cells": total}] if len(table) > 1 else table,
        "cached": sum(row["cached"] or 0 for row in rows),
        "chunks": sum(row["chunks"] or 0 for row in rows),
        "found": sum(row["chunks_found"] or 0 for row in rows),
    }


DRIFT_TITLES = {
    "categories": "Categories",
    "popularity": "Popularity of the item",
    "ages": "Age of the item",
}


def drift_panels(drift: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One panel a view of the drift: bands with two bars each."""
    panels = []
    for key, title in DRIFT_TITLES.items():
        part = drift.get(key)
        if part is None:
            continue
        bands = part.get("bands", [])
        # The rest of the categories would dwarf every category that has a name.
        named = [band for band in bands if band["band"] != OTHER]
        longest = max((max(b["before"], b["after"]) for b in named), default=0.0)
        panels.append(
            {
                "title": title,
                "skipped": part.get("skipped"),
                "distance": part.get("jensen_shannon"),
                "bands": [band | {"svg": _pair(band, longest)} for band in bands],
            }
        )
    return panels


def _pair(band: Mapping[str, Any], longest: float) -> Markup:
    if band["band"] == OTHER:
        return Markup()
    return charts.pair_bars(band["before"], band["after"], longest, label=band["band"])


def seconds_bars(stages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds per stage on one scale, and their sum."""
    rows = [dict(row) for row in stages]
    longest = max((row["seconds"] for row in rows), default=0.0)
    for row in rows:
        said = f"{row['stage']}: {duration(row['seconds'])}"
        row["svg"] = charts.stacked_bar([("time", row["seconds"])], longest, label=said)
    return {"rows": rows, "total": sum(row["seconds"] for row in rows)}
