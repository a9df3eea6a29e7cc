"""Applying a recipe to samples: shared by `blend` (tonight) and `tune` (trials)."""

from __future__ import annotations

from typing import Any

import polars as pl


def weigh(
    samples: pl.DataFrame,
    strategies: dict[str, dict[str, Any]],
    items: pl.DataFrame,
    *,
    tail_events: int,
) -> pl.DataFrame:
    """The samples that the recipe uses, `weight` multiplied by the strategy's weight.

    Args:
        strategies: name → `{"weight": w, "scope": "cold" | "short" | "all"}`. A strategy that is
            not named has weight zero; `cold` keeps samples of items without events, `short` of
            items with at most `tail_events`.
        items: the catalogue as it stands before the night: `item_id`, `events`.
    """
    most = {"cold": 0, "short": tail_events}
    parts = [samples.clear()]
    for strategy, chosen in strategies.items():
        if not chosen["weight"]:
            continue
        mine = samples.filter(pl.col("strategy") == strategy)
        scope = chosen.get("scope", "all")
        if scope != "all":
            inside = items.filter(pl.col("events") <= most[scope])
            mine = mine.join(inside, on="item_id", how="semi", maintain_order="left")
        parts.append(mine.with_columns(weight=pl.col("weight") * float(chosen["weight"])))
    return pl.concat(parts)


def own_weight() -> pl.Expr:
    """The weight that the strategy itself gave a sample, whatever recipe was applied since."""
    given = pl.col("scores").str.json_path_match("$.weight")
    return given.cast(pl.Float64, strict=False).fill_null(1.0)
