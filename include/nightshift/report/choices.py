"""The gates of the verdict and the trials of the recipe, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.report import charts
from nightshift.report.charts import Mark
from nightshift.report.verdict import gate_words
from nightshift.report.words import lift, readable


def gate_table(verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each gate: what it asks, what was found, whether it held."""
    rows = []
    for gate in verdict["gates"]:
        asks, found = gate_words(gate)
        name = readable(gate["name"])
        rows.append({"name": name, "passed": gate["passed"], "asks": asks, "found": found})
    return rows


TRIAL_SLICES = {
    "overall": ("pooled", "Overall, NDCG@10"),
    "warm": ("tonight", "Warm items, NDCG@10"),
    "cold": ("cold", "Cold items, Recall@10"),
}


def trials(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What tune tried: each candidate against the control, and the control at every β."""
    tried = recipe["tried"]
    rows = [
        {
            "label": _candidate(trial["strategies"]),
            "marks": [
                Mark(role, label, found["relative"], (found["low"], found["high"]))
                for name, (role, label) in TRIAL_SLICES.items()
                if (found := trial[name])["n"] and found["relative"] is not None
            ],
            "allowed": trial["allowed"],
            "chosen": _weights(trial, trial) == _weights(recipe, trial),
            "over": [
                f"{readable(name).lower()}, {label.lower()}: "
                f"{lift(found[place]['relative'], (found[place]['low'], found[place]['high']))}"
                for name, found in trial.get("over", {}).items()
                for place, (_, label) in TRIAL_SLICES.items()
                if place != "warm" and found[place]["n"]
            ],
        }
        for trial in tried["trials"]
    ]
    scale = charts.forest_scale([mark for row in rows for mark in row["marks"]])
    betas = tried["control_by_beta"].items()
    return {
        "rows": [row | {"svg": charts.forest_row(scale, row["marks"])} for row in rows],
        "axis": charts.forest_axis(scale),
        "legend": [(label, role) for role, label in TRIAL_SLICES.values()],
        "betas": sorted(
            ({"beta": float(beta), **figures} for beta, figures in betas),
            key=lambda row: row["beta"],
        ),
        "lost": [
            *(f"{readable(name)}: {why}" for name, why in (tried.get("lost") or {}).items()),
            *([f"no sample at all: {skipped}"] if (skipped := tried.get("skipped")) else []),
        ],  # a recipe of an earlier version does not say
    }


def _candidate(strategies: Mapping[str, Mapping[str, Any]]) -> str:
    """`Text neighbours 0.1, short`: what a candidate switches on."""
    parts = [
        f"{readable(name)} {chosen['weight']:g}"
        + (f", {chosen['scope']}" if chosen.get("scope") else "")
        for name, chosen in strategies.items()
        if chosen["weight"]
    ]
    return "; ".join(parts) or "Nothing"


def _weights(chosen: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    """Weight and scope of the strategies that the trial chooses between; others are not weighed."""
    off: Mapping[str, Any] = {"weight": 0.0}
    strategies = chosen["strategies"]
    found = {name: strategies.get(name, off) for name in trial["strategies"]}
    return {name: (one["weight"], one.get("scope")) for name, one in found.items()}
