"""How figures read: the same words on the page, in the terminal and in the verdict's sentence.

A figure that does not exist is an en dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "–"
MINUS = "−"

METRIC_NAMES = {
    "ndcg@10": "NDCG@10",
    "recall@10": "Recall@10",
    "recall@50": "Recall@50",
    "mrr": "MRR",
    "auc_impressions": "AUC, clicks",
    "auc_popularity_matched": "AUC, matched",
    "coverage@10": "Coverage@10",
    "gini@10": "Gini@10",
    "novelty@10": "Novelty@10",
}
SLICE_NAMES = {
    "overall": "Overall",
    "warm": "Warm items",
    "tail": "Tail items",
    "cold": "Cold items",
    "new_users": "New users",
    "repeat": "Bought before",
    "new": "New to the user",
    "head_queries": "Head queries",
    "tail_queries": "Tail queries",
}
_SPELLED = {"knn": "kNN", "bm25": "BM25", "llm": "LLM", "7d": "(7 days)"}
LINE_NAMES = {"real": "real line (control)", "blend": "blend line (challenger)"}


def metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric)


def slice_name(name: str) -> str:
    return SLICE_NAMES.get(name, readable(name))


def readable(name: str) -> str:
    """A name in code as words.

    >>> readable("text_neighbours"), readable("item_knn"), readable("llm_queries")
    ('Text neighbours', 'Item kNN', 'LLM queries')
    """
    words = [_SPELLED.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text if words[0] in _SPELLED.values() else text[:1].upper() + text[1:]


def count(value: float | None) -> str:
    """Thousands apart by a comma: 12,345."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", MINUS)


def figure(value: float | None, digits: int = 4) -> str:
    """A metric's value: 0.0245."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def share(value: float | None, digits: int = 0) -> str:
    """A part of a whole: 0.123 → 12 %."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def signed(value: float | None, digits: int = 1) -> str:
    """A relative lift: 0.021 → +2.1 %."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.{digits}f} %"
    zero = f"{0:.{digits}f} %"
    return zero if text[1:] == zero else text.replace("-", MINUS)


def interval(ci95: Sequence[float] | None, digits: int = 1) -> str:
    """A 95 % interval of a relative lift: [−0.4, +4.7]."""
    if ci95 is None:
        return "no interval"
    low, high = (signed(bound, digits).removesuffix(" %") for bound in ci95)
    return f"[{low}, {high}]"


def lift(relative: float | None, ci95: Sequence[float] | None) -> str:
    """`+2.1 % [−0.4, +4.7]`, or a dash when there is no lift to speak of."""
    return NOTHING if relative is None else f"{signed(relative)} {interval(ci95)}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def cost(seconds: float | None) -> str:
    """What one sample took: `under 1 ms`, `12 ms`, `1.4 s`."""
    if seconds is None or seconds >= 1:
        return duration(seconds)
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.001 else "under 1 ms"


def bill(figures: Mapping[str, Any], currency: str) -> list[str]:
    """A cost in words, what is zero or not known left out.

    >>> bill({"seconds": 12.2, "tokens": 960, "gpu_hours": 0.0, "money": 0.0123}, "USD")
    ['12 s', '960 tokens', '0.0123 USD']
    """
    parts = [cost(figures.get("seconds"))]
    if tokens := figures.get("tokens"):
        parts.append(f"{tokens:,.1f} tokens" if tokens < 100 else f"{count(tokens)} tokens")
    if hours := figures.get("gpu_hours"):
        parts.append(f"{hours:.2g} GPU-h")
    if paid := figures.get("money"):
        parts.append(f"{money(paid)} {currency}")
    return parts


def money(amount: float | None) -> str:
    """`12.34`; small sums keep three figures that say something: `0.00123`."""
    if amount is None:
        return NOTHING
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.3g}"


def size(octets: float | None) -> str:
    """`512 B`, `3.4 kB`, `1.2 GB`; powers of 1,000."""
    if octets is None:
        return NOTHING
    amount, unit = float(octets), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 night`, `3 nights`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last one an ellipsis when something was cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
