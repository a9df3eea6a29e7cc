"""The metadata on top of a card, as model hubs read it: YAML between two lines of dashes.

The keys are those of Hugging Face's model cards; figures go into a `model-index` (Papers with
Code's format).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from nightshift.contracts import SLICES, ResultRow

METRICS = ("ndcg@10", "recall@10", "mrr")
_TAGS = ("recommendation", "sequential-recommendation", "cold-start", "nightshift")


def front_matter(name: str, results: list[dict[str, Any]]) -> list[str]:
    """The lines, dashes included.

    Args:
        results: see `model_index`; empty where nothing was judged, and then there is no index.
    """
    fields: dict[str, Any] = {
        "library_name": "nightshift",
        # The hub knows no task of recommending items.
        "pipeline_tag": "other",
        "tags": list(_TAGS),
        # What weights have learnt is the shop's.
        "license": "other",
        "license_name": "the-shops-own",
        "license_link": "#licence-of-the-parts",
    }
    if results:
        fields["metrics"] = sorted({result["metrics"][0]["type"] for result in results})
        fields["model-index"] = [{"name": name, "results": results}]
    return ["---", *_block(fields, 0), "---"]


def model_index(
    arm: str, rows: Iterable[ResultRow], *, shop: str, nights: int
) -> list[dict[str, Any]]:
    """The arm's own figures as the `results` of a model index, a slice being a configuration."""
    levels = [
        row
        for row in rows
        if (row.arm, row.against, row.seed) == (arm, None, None)
        and row.metric in METRICS
        and row.slice in SLICES
    ]
    return [
        {
            "task": {"type": "recommendation", "name": "Next-item recommendation"},
            "dataset": {
                "type": "shop-events",
                "name": f"{shop}: the night's own events, {nights} night(s) pooled",
                "config": row.slice,
                "split": "test",
            },
            "metrics": [
                {"type": row.metric, "value": round(row.value, 6), "name": row.metric.upper()}
            ],
        }
        for row in sorted(levels, key=lambda row: (SLICES.index(row.slice), row.metric))
    ]


def _block(value: dict[str, Any] | list[Any], depth: int) -> list[str]:
    """Block style; a scalar is written as JSON, which is YAML too."""
    pad, lines = "  " * depth, list[str]()
    pairs = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in pairs:
        head = f"{pad}-" if key == "-" else f"{pad}{key}:"
        if not isinstance(item, dict | list):
            lines.append(f"{head} {_scalar(item)}")
            continue
        inside = _block(item, depth + 1)
        if key == "-":  # the first line of an entry stands beside its dash
            lines += [f"{head} {inside[0].lstrip()}", *inside[1:]]
        else:
            lines += [head, *inside]
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        value = "".join(letter for letter in value if letter.isprintable())
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
