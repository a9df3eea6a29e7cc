"""How the morning after differs from what the night had learned: categories, popularity, age.

"Before" is the last `WINDOW_DAYS` days in front of the night (longer when the night is longer).
Distances are Jensen-Shannon divergences in bits (Lin 1991): 0 for equal distributions, 1 for
disjoint ones. A short night has few events, so a small distance is noise; it is shown, not gated.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.snapshot import Snapshot

WINDOW_DAYS = 28
TOP_CATEGORIES = 8
OTHER = "all others"
# Bands of the catalogue ranked by events before the window, as shares of the items bought then.
POPULARITY_BANDS = (
    (0.01, "top 1 %"),
    (0.10, "1–10 %"),
    (0.50, "10–50 %"),
    (1.0, "50–100 %"),
)
NEVER = "never bought until then"
AGE_BANDS = (
    (7, "under a week"),
    (28, "1–4 weeks"),
    (91, "1–3 months"),
    (365, "3–12 months"),
)
OLDEST = "over a year"


def drift_figures(lake: Lake, snapshot: Snapshot, morning: Manifest, night: Night) -> Any:
    """Shares of target events before and after, per category, popularity band and item age.

    Returns a dict with `skipped` and nothing else when one side has no events.
    """
    kinds = list(snapshot.shop.target_kinds)
    events = snapshot.events().filter(pl.col("kind").is_in(kinds)).select("item_id", "occurred_at")
    after = (
        lake.scan(morning, "events.parquet")
        .filter(pl.col("kind").is_in(kinds))
        .select("item_id", "occurred_at")
        .collect()
    )
    start = night.start - max(timedelta(days=WINDOW_DAYS), night.end - night.start)
    before = events.filter(pl.col("occurred_at") >= start).collect()
    if not before.height or not after.height:
        side = "in the morning after" if before.height else f"in the {WINDOW_DAYS} days before"
        return {"skipped": f"there are no events {side}"}
    history = (
        events.group_by("item_id")
        .agg(
            first=pl.col("occurred_at").min(),
            earlier=(pl.col("occurred_at") < start).sum(),
        )
        .collect()
    )
    items = snapshot.items.select("item_id", "category", "listed_at").join(
        history, on="item_id", how="left"
    )
    sides = [_with_items(side, items) for side in (before, after)]
    figures: dict[str, Any] = {
        "before": {"start": start.isoformat(), "events": before.height},
        "after": {"start": night.start.isoformat(), "events": after.height},
        "categories": _compare(*(_categories(side, sides[0]) for side in sides)),
        "popularity": _compare(*(_popularity(side, items) for side in sides))
        if items["earlier"].fill_null(0).sum()
        else {"skipped": f"the history is shorter than {(night.start - start).days} days"},
        "ages": _compare(*(_ages(side) for side in sides)),
    }
    return figures


def _with_items(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Events with their item's columns; an item's first event may lie in the night itself."""
    own = events.group_by("item_id").agg(here=pl.col("occurred_at").min())
    return (
        events.join(items, on="item_id", how="left")
        .join(own, on="item_id", how="left")
        .with_columns(born=pl.coalesce("listed_at", pl.min_horizontal("first", "here")))
    )


def _categories(events: pl.DataFrame, before: pl.DataFrame) -> pl.Series:
    """Events per category: the largest before the night by name, the others together."""
    named = before["category"].drop_nulls().value_counts(sort=True)
    top = named.sort("count", "category", descending=[True, False])["category"]
    known = pl.col("category").is_in(top.head(TOP_CATEGORIES).implode())
    label = pl.when(known).then("category").otherwise(pl.lit(OTHER))
    return events.select(label.alias("band"))["band"]


def _popularity(events: pl.DataFrame, items: pl.DataFrame) -> pl.Series:
    """The band of each event's item in the ranking by events before the window."""
    ranked = (
        items.filter(pl.col("earlier") > 0)
        .sort(["earlier", "item_id"], descending=[True, False])
        .select("item_id", place=(pl.int_range(pl.len()) + 1) / pl.len())
    )
    place = events.select("item_id").join(ranked, on="item_id", how="left", maintain_order="left")[
        "place"
    ]
    return _band(place, POPULARITY_BANDS, NEVER)


def _ages(events: pl.DataFrame) -> pl.Series:
    """Age of the item at the event: since it was listed, else since its first event, in days."""
    days = (events["occurred_at"] - events["born"]).dt.total_seconds() / 86_400
    return _band(days, AGE_BANDS, OLDEST)


def _band(values: pl.Series, bands: tuple[tuple[float, str], ...], last: str) -> pl.Series:
    """The first band whose upper end a value does not exceed; null and beyond: `last`."""
    chosen = pl.lit(last)
    for upper, label in reversed(bands):
        chosen = pl.when(pl.col("value") <= upper).then(pl.lit(label)).otherwise(chosen)
    return values.alias("value").to_frame().select(band=chosen)["band"]


def _compare(before: pl.Series, after: pl.Series) -> dict[str, Any]:
    order = [label for _, label in (*POPULARITY_BANDS, *AGE_BANDS)] + [NEVER, OLDEST, OTHER]
    shares = [dict(side.value_counts(normalize=True).iter_rows()) for side in (before, after)]
    labels = sorted(
        {*shares[0], *shares[1]},
        key=lambda label: (
            order.index(label) if label in order else -1,
            -shares[0].get(label, 0.0),
            label,
        ),
    )
    columns = [np.array([side.get(label, 0.0) for label in labels]) for side in shares]
    return {
        "jensen_shannon": round(jensen_shannon(*columns), 6),
        "bands": [
            {"band": label, "before": round(float(b), 6), "after": round(float(a), 6)}
            for label, b, a in zip(labels, *columns, strict=True)
        ],
    }


def jensen_shannon(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence in bits of two distributions over the same bands: [bands]."""
    middle = (p + q) / 2

    def against_middle(side: npt.NDArray[np.float64]) -> float:
        inside = side > 0
        return float((side[inside] * np.log2(side[inside] / middle[inside])).sum())

    return max(0.0, (against_middle(p) + against_middle(q)) / 2)
