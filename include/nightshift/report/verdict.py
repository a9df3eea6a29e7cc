"""The verdict in one sentence, and its gates as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nightshift.report.results import HEADLINE_METRIC, Row, lift_row
from nightshift.report.words import LINE_NAMES, interval, metric_name, signed

# What a decision is called, and the tone of its colour on the page.
DECISIONS = {
    "promoted": ("Promoted", "good"),
    "kept": ("Kept", "calm"),
    "control": ("No difference", "calm"),
    "empty": ("Empty night", "muted"),
    "rolled_back": ("Rolled back", "bad"),
}


def verdict_figures(
    raw: Mapping[str, Any], *, pooled: Sequence[Row], tonight: Sequence[Row], empty: bool
) -> dict[str, Any]:
    """`verdict.json` with what a reader asks first: the word, the sentence, the lift."""
    decision = str(raw.get("decision", "unknown"))
    word, tone = DECISIONS.get(decision, (decision.replace("_", " ").capitalize(), "calm"))
    headline = lift_row(pooled, "overall") or lift_row(tonight, "overall")
    return {
        **raw,
        "decision": decision,
        "word": word,
        "tone": tone,
        "sentence": _sentence(raw, decision, empty),
        "headline": dict(headline) if headline else None,
        "headline_words": headline_words(headline),
    }


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


def _sentence(raw: Mapping[str, Any], decision: str, empty: bool) -> str:
    reason = str(raw.get("reason") or raw.get("why") or "").strip()
    line = LINE_NAMES.get(str(raw.get("live_line")), str(raw.get("live_line", "")))
    start = {
        "promoted": f"Promoted: the {line} goes live",
        "kept": f"Kept: the {line} stays live",
        "control": f"No difference between the arms: the {line} is live",
        "empty": "An empty night: nothing was judged and nothing changes",
        "rolled_back": f"Rolled back: the {line} is live again",
    }.get(decision, f"{decision.replace('_', ' ').capitalize()}: the {line} is live")
    if empty and decision != "empty":
        start = f"{start} (the night had no events to judge by)"
    if not reason:
        return start + "."
    return f"{start}, because {reason[:1].lower()}{reason[1:].rstrip('.')}."
