"""What the tests of `adapt` share: settings that learn in seconds, and searches to learn from."""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import text

from factories import NIGHT
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.settings import Settings
from nightshift.stages import STAGES, StageContext
from nightshift.store.engine import begin

QUICK: dict[str, Any] = {
    "adapt": {
        "steps": 6,
        "batch": 4,
        "rank": 4,
        "layers": 2,
        "probe_items": 0,
        "pairs": 60,
        "learning_rate": 3e-3,
        "held_out": 0.03,
    }
}
"""Enough to move the model, far too little to make it good."""


def searches_of(lake: Lake, count: int, night: Any = NIGHT) -> pl.DataFrame:
    """As many searches in the words of the shop's own items: contracts.SEARCHES."""
    items = lake.read(lake.get("snapshot", f"night={night.key}"), "items.parquet")
    known = items.filter(~pl.col("withheld")).unique("title", maintain_order=True).head(count)
    return known.select(
        query=pl.format("my {}", pl.col("category").str.to_lowercase().str.extract(r"^(\w+)")),
        item_id="item_id",
        user_key=pl.lit(None, pl.String),
        grade=pl.lit(None, pl.Float64),
        occurred_at=pl.lit(night.start),
    ).unique("query", maintain_order=True)


def visits_of(lake: Lake, visits: int) -> pl.DataFrame:
    """Two searches each of as many visits, of one customer and day each: contracts.SEARCHES."""
    items = lake.read(lake.get("snapshot", f"night={NIGHT.key}"), "items.parquet")
    users = lake.read(lake.get("snapshot", f"night={NIGHT.key}"), "users.parquet")["user_key"]
    natural = items.filter(~pl.col("withheld"))["item_id"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    rows = [
        {
            "user_key": users[n % len(users)],
            "query": f"{word} z{letters[n % 26]}",
            "item_id": natural[n],
        }
        for n in range(visits)
        for word in ("first thing", "second thing")
    ]
    return pl.DataFrame(rows).with_columns(
        grade=pl.lit(None, pl.Float64), occurred_at=pl.lit(NIGHT.start)
    )


def adapter_of(
    lake: Lake, settings: Settings, night: Any, *, withheld: Any = (), mark: int = 0
) -> Manifest:
    """A dataset `adapter` that nobody has learnt: for what only looks for one."""
    from factories import commit

    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json("adapter_config.json", mark)
        ctx.writer.write_json("adapter_model.safetensors", mark)
        return {"withheld": list(withheld), "model_digest": "none", "templates": {}}

    return commit(lake, settings, night, STAGES["adapt"], run)


def add_searches(settings: Settings, queries: list[str], *, at: str | None) -> None:
    """Into the event store: each query is answered by an item of its own."""
    with begin(settings) as connection:
        items = connection.execute(
            text("select item_id from nightshift.items order by title, item_id limit :n"),
            {"n": len(queries)},
        )
        for query, (item,) in zip(queries, items.all(), strict=True):
            connection.execute(
                text(
                    "insert into nightshift.searches (search_id, query, item_id, occurred_at)"
                    " values (:key, :query, :item, :at)"
                ),
                {"key": f"{query} {at}", "query": query, "item": item, "at": at},
            )
