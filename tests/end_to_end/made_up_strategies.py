"""A strategy of every kind that needs no language model: what it says is written here."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import polars as pl

from nightshift.generate.samples import as_samples
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy

SAID = {
    "review": "we eat it every week, the children love it",
    "description": "a good thing for a quick supper",
    "ad_copy": "supper is ready when you are",
    "profile": "buys what is quick to cook, and something sweet",
}


class MadeUp(Strategy):
    """One sample a target: of an item, or of a customer for a profile."""

    name: ClassVar[str] = "made_up"
    version: ClassVar[str] = "1"
    produces: ClassVar[str] = "sequence"

    def price(self) -> Price:
        return Price()

    def plan(self, budget: int) -> pl.DataFrame:
        whose = "user_key" if self.produces == "profile" else "item_id"
        table = self.sources.snapshot.users if whose == "user_key" else self.sources.snapshot.items
        keys = table[whose].head(min(budget, 60))
        other = "item_id" if whose == "user_key" else "user_key"
        return pl.DataFrame({whose: keys}).select(
            pl.lit(None, pl.String).alias(other), whose, shortage=1.0, budget=pl.lit(1, pl.Int64)
        )[list(WISHES)]

    def generate(self, targets: pl.DataFrame) -> Chunk:
        about = targets["item_id"] if self.produces != "profile" else targets["user_key"]
        popular = self.sources.snapshot.items.sort("events", descending=True)["item_id"].to_list()
        text = SAID.get(self.produces)
        rows: list[dict[str, Any]] = [
            {
                "kind": self.produces,
                "strategy": self.name,
                "item_id": None if self.produces == "profile" else key,
                "user_key": key if self.produces == "profile" else None,
                "context_items": [] if text else popular[n % 5 : n % 5 + 3],
                "text": text and f"{text}, {key}",
                "label": 1.0,
                "weight": 1.0,
                "scores": "{}",
                "lineage": json.dumps({"version": self.version, "model": "nobody"}),
            }
            for n, key in enumerate(about)
        ]
        schema = {"item_id": pl.String, "user_key": pl.String, "text": pl.String}
        return Chunk(as_samples(pl.DataFrame(rows, schema_overrides=schema)))


def strategies() -> dict[str, type[Strategy]]:
    """`made_up_sequence`, `made_up_review` …"""
    kinds = ("sequence", *SAID)
    return {
        f"made_up_{kind}": type(
            f"MadeUp{kind}", (MadeUp,), {"name": f"made_up_{kind}", "produces": kind}
        )
        for kind in kinds
    }
