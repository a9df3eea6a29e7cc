"""The report stage: `report.json` with every figure of the night, `index.html` to look at.

Unlike those of every other stage, these bytes are not the same in two runs of the same night:
the report shows how long each stage took, and that is different every time. Nothing learns from
a report, so nothing downstream is affected; the stats, which are few, are the same.
"""

from __future__ import annotations

from typing import Any

from nightshift.report.figures import night_figures
from nightshift.report.page import render
from nightshift.stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write both files; returns the verdict's decision and what was skipped."""
    figures = night_figures(ctx)
    ctx.writer.write_json("report.json", figures)
    ctx.writer.write_bytes("index.html", render(figures).encode())
    return {
        "decision": figures["verdict"]["decision"],
        "strategies": len(figures["samples"]["strategies"]),
        "not_judged": [entry["what"] for entry in figures["evaluation"]["not_judged"]],
    }
