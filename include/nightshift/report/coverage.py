"""What the live model recommends: how much of the catalogue, and how evenly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from nightshift import metrics
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.report.words import shorten

TOP_ITEMS = 8
MAX_TITLE = 70
EXAMPLES = 4
"""Recommendations that are shown with what carried them, of as many customers."""


def recommendation_figures(
    lake: Lake, recommendations: Manifest, items: pl.DataFrame
) -> dict[str, Any]:
    """Users, items and spread of the recommendations that were written.

    Args:
        items: the catalogue: `item_id`, `title`, `events`; the row is the item's code.
    """
    catalogue = items.select("item_id", "title", "events").with_row_index("item")
    shown = (
        lake.scan(recommendations, "recommendations.parquet")
        .select("item_id")
        .join(catalogue.lazy(), on="item_id", how="inner")
        .collect()
    )
    figures: dict[str, Any] = {
        "users": recommendations.stats.get("users", 0),
        "line": recommendations.stats.get("line"),
        "state": recommendations.stats.get("state"),
        "catalogue": items.height,
    }
    if not shown.height:
        return figures | {"skipped": "no user was active enough to be scored"}
    codes = shown["item"].cast(pl.Int64).to_numpy()
    everything = np.ones(items.height, dtype=np.bool_)
    top = (
        shown.group_by("item_id", "title")
        .agg(users=pl.len())
        .sort(["users", "item_id"], descending=[True, False])
        .head(TOP_ITEMS)
    )
    return figures | {
        "items": shown["item"].n_unique(),
        "coverage": round(metrics.coverage(codes, everything), 6),
        "gini": round(metrics.gini(codes, everything), 6),
        "cold_share": round(float((shown["events"] == 0).to_numpy().mean()), 6),
        "top": [
            {"item": shorten(title or item, MAX_TITLE), "users": users}
            for item, title, users in top.iter_rows()
        ],
        "why": _why(lake, recommendations, items),
    }


def _why(lake: Lake, recommendations: Manifest, items: pl.DataFrame) -> dict[str, Any] | None:
    """What carries a first place: the mean share of each term, and examples; None: not asked.

    Examples name no customer, not even by pseudonym.
    """
    file = lake.scan(recommendations, "recommendations.parquet")
    if "shares" not in file.collect_schema().names():
        return None  # scored by an earlier version
    first = (
        file.filter((pl.col("rank") == 1) & pl.col("shares").is_not_null())
        .select("user_key", "item_id", "because", "words", "shares")
        .collect()
    )
    if first.is_empty():
        return None
    terms = pl.Struct(dict.fromkeys(json.loads(first["shares"][0]), pl.Float64))
    means = first["shares"].str.json_decode(terms).struct.unnest().mean().row(0, named=True)
    title = dict(items.select("item_id", "title").iter_rows())
    shown = first.filter(pl.col("because").list.len() > 0).sort("user_key").head(EXAMPLES)
    return {
        "shares": {name: round(share or 0.0, 4) for name, share in means.items()},
        "examples": [
            {
                "item": shorten(title.get(item) or item, MAX_TITLE),
                "because": [shorten(title.get(one) or one, MAX_TITLE) for one in because],
                "words": words,
            }
            for item, because, words in shown.select("item_id", "because", "words").iter_rows()
        ],
    }
