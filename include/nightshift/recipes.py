"""Applying a recipe to samples: shared by `blend` (tonight) and `tune` (trials)."""

from __future__ import annotations

from typing import Any

import polars as pl


def weigh(samples: pl.DataFrame, strategies: dict[str, dict[str, Any]]) -> pl.DataFrame:
    """The samples that the recipe uses, `weight` multiplied by the strategy's weight.

    Args:
        strategies: name → `{"weight": w, "scope": "short" | "all"}`. A strategy that is not named
            has weight zero; scope `short` keeps samples of items that were short of events.
    """
    parts = [samples.clear()]
    for strategy, chosen in strategies.items():
        if not chosen["weight"]:
            continue
        mine = samples.filter(pl.col("strategy") == strategy)
        if chosen.get("scope") == "short":
            mine = mine.filter(is_short())
        parts.append(mine.with_columns(weight=pl.col("weight") * float(chosen["weight"])))
    return pl.concat(parts)


def is_short() -> pl.Expr:
    """Whether the sample's item was short of events when the sample was made."""
    short = pl.col("scores").str.json_path_match("$.short")
    return short.cast(pl.Float64, strict=False).fill_null(0.0) > 0
