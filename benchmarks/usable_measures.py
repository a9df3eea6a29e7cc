"""Counting a sheet that was rated by reading: usable shares, with their intervals."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from benchmarks.common import finish, say

SHOWN_CHARS = 90
"""Of a product, on a page."""


def key_of(sheet: Path) -> Path:
    return sheet.with_name(f"{sheet.stem}-key{sheet.suffix}")


def count(sheet: Path, markdown: Path | None = None) -> int:
    """Usable shares with their intervals: generated and real, by intent, and what passed."""
    with sheet.open(newline="") as one, key_of(sheet).open(newline="") as other:
        rated = {row["id"]: row for row in csv.DictReader(one)}
        rows = [rated[key["id"]] | key for key in csv.DictReader(other)]
    blank = [row["id"] for row in rows if row["usable"] not in ("0", "1")]
    if blank:
        say(f"not rated with 0 or 1: {', '.join(blank)}")
        return 2
    made = [row for row in rows if row["origin"] == "generated"]
    passed = [row for row in made if row["accepted"] == "1"]
    found = [_share("generated", "overall", made)]
    found += [
        _share("generated", intent, [row for row in made if row["intent"] == intent])
        for intent in sorted({row["intent"] for row in made})
    ]
    found.append(_share("accepted by the inspection", "overall", passed))
    found.append(_row("generated", "overall", "acceptance", len(passed), len(made)))
    real = [row for row in rows if row["origin"] == "real"]
    if real:
        found.append(_share("real", "overall", real))
    for row in found:
        low, high = row["ci95"]
        say(
            f"{row['arm']:28}{row['slice']:14}{row['metric']:12}"
            f"{row['value']:.2f} [{low:.2f}, {high:.2f}]  n={row['n']}"
        )
    if markdown is not None:
        markdown.write_text(page(rows, found))
    finish(f"usable-{sheet.stem}", sheet.stem, found)
    return 0


def page(rows: list[dict[str, str]], found: list[dict[str, Any]]) -> str:
    """The figures, and every row in the order in which it was read."""
    lines = ["| rows | | share | 95 % | n |", "|---|---|---|---|---|"]
    for row in found:
        low, high = row["ci95"]
        lines.append(
            f"| {row['arm']}, {row['slice']} | {row['metric']} | {row['value']:.2f} "
            f"| {low:.2f}-{high:.2f} | {row['n']} |"
        )
    lines += ["", "| | product | search | usable | who wrote it | accepted |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        product = " ".join(row["product"].replace("|", "/").split())[:SHOWN_CHARS]
        passed = {"1": "yes", "0": row["reasons"]}.get(row["accepted"], "")
        who = "a customer" if row["origin"] == "real" else f"the model, {row['intent']}"
        lines.append(
            f"| {row['id']} | {product} | {row['search']} | {row['usable']} | {who} | {passed} |"
        )
    return "\n".join(lines) + "\n"


def _share(arm: str, of: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    good = sum(row["usable"] == "1" for row in rows)
    return _row(arm, of, "usable", good, len(rows))


def _row(arm: str, of: str, metric: str, good: int, n: int) -> dict[str, Any]:
    return {
        "arm": arm,
        "slice": of,
        "metric": metric,
        "value": round(good / n, 4) if n else 0.0,
        "ci95": wilson(good, n),
        "n": n,
    }


def wilson(good: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927): sound for few rows and near 0 or 1.

    >>> wilson(70, 100)
    (0.6042, 0.7811)
    """
    if n == 0:
        return 0.0, 1.0
    share, square = good / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return round(centre - half, 4), round(centre + half, 4)
