"""The verdict as a sentence, and its gates as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nightshift.report.results import HEADLINE_METRIC, Row, lift_row
from nightshift.report.words import (
    LINE_NAMES,
    figure,
    interval,
    metric_name,
    readable,
    share,
    signed,
    slice_name,
)

# What a decision is called, and the tone of its colour on the page.
DECISIONS = {
    "promoted": ("Promoted", "good"),
    "kept": ("Kept", "calm"),
    "control": ("Control", "calm"),
    "empty": ("Empty night", "muted"),
    "too_few_users": ("Too few customers", "muted"),
}


def verdict_figures(
    raw: Mapping[str, Any], *, pooled: Sequence[Row], tonight: Sequence[Row]
) -> dict[str, Any]:
    """`verdict.json` with what a reader asks first: the word, the sentence, the lift."""
    decision = str(raw["decision"])
    word, tone = DECISIONS.get(decision, (readable(decision), "calm"))
    headline = lift_row(pooled, "overall") or lift_row(tonight, "overall")
    return {
        **raw,
        "word": word,
        "tone": tone,
        "sentence": sentence(raw),
        "headline": dict(headline) if headline else None,
        "headline_words": headline_words(headline),
    }


def sentence(raw: Mapping[str, Any]) -> str:
    """What happened, in one sentence; the verdict's own reasons stand beside it."""
    decision, before = raw["decision"], raw.get("live_line_before")
    line = LINE_NAMES.get(raw["live_line"], raw["live_line"])
    if decision == "empty":
        return f"An empty night: nothing was judged, the {line} stays live."
    if decision == "too_few_users":
        return f"Too few customers for a verdict: the {line} stays live."
    if before is None:
        return f"The {line} goes live: it is the first champion."
    if before == raw["live_line"]:
        return f"The {line} stays live."
    return f"The {line} goes live, in place of the {LINE_NAMES.get(before, before)}."


def headline_words(row: Row | None) -> str:
    """`+2.1 % NDCG@10 [−0.4, +4.7]`, or why there is none."""
    if row is None:
        return "not judged: the night has no figures of challenger against control"
    if row.get("relative") is None:
        return f"not judged: no relative lift over {row['n']:,} users"
    words = f"{signed(row['relative'])} {metric_name(row.get('metric', HEADLINE_METRIC))}"
    if row.get("ci95") is None:
        return f"{words}, without an interval: {row['n']:,} users are too few"
    return f"{words} {interval(row['ci95'])}"


def gate_words(gate: Mapping[str, Any]) -> tuple[str, str]:
    """What a gate asks for and what was found, from the figures it was decided on."""
    figures = gate["figures"]
    if "lower_bound" in figures:
        asks = f"lower bound above {signed(figures['above'])}"
        if figures["lower_bound"] is None:
            return asks, f"no interval over {figures['n']:,} users"
        return asks, f"{signed(figures['relative'])} {interval(figures['ci95'])}"
    if "max_loss" in figures:
        asks = f"a loss of at most {share(figures['max_loss'])}"
        ours, theirs = figures["challenger"], figures["control"]
        return asks, f"{figure(ours, 3)}, control {figure(theirs, 3)}"
    found = [
        f"{slice_name(name)}: {_difference(row)}"
        for name, row in figures.items()
        if isinstance(row, Mapping) and "difference" in row
    ]
    return "one lower bound above 0", "; ".join(found) or "nothing to look at"


def _difference(row: Mapping[str, Any]) -> str:
    words = f"{metric_name(row['metric'])} "
    if row.get("relative") is not None:
        return words + f"{signed(row['relative'])} {interval(row['ci95'])}"
    bounds = row.get("difference_ci95")
    inside = f" [{bounds[0]:+.4f}, {bounds[1]:+.4f}]" if bounds else ""
    return (words + f"{row['difference']:+.4f}{inside}").replace("-", "−")
