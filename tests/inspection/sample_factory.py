"""Good samples of every kind for a real small shop, and running `inspect` on changed ones."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from factories import NIGHT, commit, make_settings, write_snapshot, write_vectors
from nightshift import contracts
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot
from nightshift.stages import STAGES

STRATEGY = {
    "interaction": "text_neighbours",
    "negative": "negatives",
    "query": "llm_queries",
    "profile": "llm_profiles",
}


@dataclass
class Shop:
    settings: Settings
    lake: Lake
    snapshot: Manifest
    vectors: Manifest

    def read(self) -> Snapshot:
        return Snapshot(self.lake, self.snapshot)

    def inspect(
        self, samples: pl.DataFrame, changes: dict[str, Any] | None = None
    ) -> tuple[Manifest, Lake]:
        """Write the samples as gather would, and run the stage on them."""
        settings = self.settings.with_({"inspection": changes or {}})
        gathered = write_samples(self.lake, settings, samples)
        return run_inspect(self, settings, gathered), self.lake

    def reasons(
        self, samples: pl.DataFrame, changes: dict[str, Any] | None = None
    ) -> dict[str, list[str]]:
        """`sample_id` -> reasons, of what was quarantined."""
        manifest, lake = self.inspect(samples, changes)
        found = lake.read(manifest, "quarantined.parquet")
        return dict(found.select("sample_id", "reasons").iter_rows())


def make_shop(folder: Path) -> Shop:
    settings = make_settings(folder)
    lake = Lake.of(settings)
    snapshot = write_snapshot(lake, settings, households=40, n_items=200)
    return Shop(settings, lake, snapshot, write_vectors(lake, settings, snapshot))


def open_shop(folder: Path) -> Shop:
    """A shop whose snapshot and vectors lie in a lake already."""
    settings = make_settings(folder)
    lake = Lake.of(settings)
    partition = f"night={NIGHT.key}"
    snapshot, vectors = (lake.get(name, partition) for name in ("snapshot", "vectors"))
    return Shop(settings, lake, snapshot, vectors)


def write_samples(lake: Lake, settings: Settings, samples: pl.DataFrame) -> Manifest:
    """One shard file per value of `shard`, and the counts of gather."""

    def run(ctx: Any) -> dict[str, Any]:
        for shard in samples["shard"].unique().sort():
            rows = samples.filter(pl.col("shard") == shard)
            table = rows.to_arrow(compat_level=None).cast(contracts.SAMPLES)
            ctx.writer.write_parquet(f"shards/{shard}.parquet", table)
        counts = samples["strategy"].value_counts().sort("strategy")
        return {"made": dict(counts.iter_rows()), "failed": []}

    return commit(lake, settings, NIGHT, STAGES["gather"], run)


def run_inspect(shop: Shop, settings: Settings, gathered: Manifest) -> Manifest:
    from nightshift.inspection.stage import run

    inputs = {"snapshot": shop.snapshot, "vectors": shop.vectors, "samples": gathered}
    return commit(shop.lake, settings, NIGHT, STAGES["inspect"], run, inputs)


def good_samples(shop: Shop, kind: str, count: int = 60, seed: int = 0) -> pl.DataFrame:
    """Samples that every rule accepts, as contracts.SAMPLES."""
    build = {"profile": good_profiles, "query": good_queries}.get(kind, good_behaviour)
    return as_samples(build(shop.read(), kind, count, np.random.default_rng(seed)), kind)


def good_behaviour(
    snapshot: Snapshot, kind: str, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Pairs the user never had; negatives take the odd items, interactions the even ones."""
    items = snapshot.items["item_id"].to_list()
    users = snapshot.users["user_key"].to_list()
    pairs = [(u, i) for u in range(len(users)) for i in range(kind == "negative", len(items), 2)]
    histories = [set(snapshot.histories.of(u).tolist()) for u in range(len(users))]
    free = [(u, i) for u, i in pairs if i not in histories[u]]
    chosen = rng.permutation(len(free))[:count]
    return [
        {
            "item_id": items[free[n][1]],
            "user_key": users[free[n][0]],
            "context_items": [items[i] for i in snapshot.histories.of(free[n][0])[-5:]],
            "label": 0.0 if kind == "negative" else 1.0,
            "scores": json.dumps({"similarity": 0.61}),
        }
        for n in chosen
    ]


def good_queries(
    snapshot: Snapshot, kind: str, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The category and the type of an item, in other words than its title."""
    rows = snapshot.items.select("item_id", "title", "category").rows()
    return [
        {
            "item_id": item,
            "text": f"good {word_of(category)} {word_of(title)} for dinner {number}",
            "label": 1.0,
        }
        for number, (item, title, category) in enumerate(rows[n % len(rows)] for n in range(count))
    ]


def good_profiles(
    snapshot: Snapshot, kind: str, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """What three items of a user's own history are called; no two of a user are the same."""
    categories = [word_of(category) for category in snapshot.items["category"]]
    found: dict[tuple[int, str], None] = {}
    while len(found) < count:
        user = len(found) % len(snapshot.users)
        drawn = rng.choice(snapshot.histories.of(user), 3)
        found[user, ", ".join(dict.fromkeys(categories[item] for item in drawn)) + " and food"] = (
            None
        )
    return [
        {"item_id": None, "user_key": snapshot.users["user_key"][user], "text": text, "label": 1.0}
        for user, text in found
    ]


def word_of(text: str | None) -> str:
    """Its first word."""
    return re.sub(r"[^a-z]+", " ", (text or "").lower()).strip().partition(" ")[0] or "food"


def as_samples(rows: list[dict[str, Any]], kind: str) -> pl.DataFrame:
    """Fill in what every sample carries; `sample_id` is the hash of the rest."""
    filled = []
    for row in rows:
        sample = {
            "kind": kind,
            "strategy": STRATEGY[kind],
            "user_key": None,
            "context_items": [],
            "text": None,
            "weight": 1.0,
            "scores": "{}",
            "lineage": json.dumps({"version": "1", "seed": 0}),
            "night": NIGHT.key,
            "shard": f"{STRATEGY[kind]}-000",
        } | row
        content = json.dumps(sample, sort_keys=True).encode()
        filled.append(sample | {"sample_id": hashlib.sha256(content).hexdigest()})
    schema = pl.DataFrame(contracts.SAMPLES.empty_table()).schema
    return pl.DataFrame(filled, schema=schema)


def all_kinds(shop: Shop, count: int = 60) -> pl.DataFrame:
    return pl.concat([good_samples(shop, kind, count) for kind in STRATEGY])


def changed(samples: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """The samples with one row's values replaced; the id of that row becomes `bad-<row>`."""
    rows = samples.to_dicts()
    rows[row] |= {"sample_id": f"bad-{row}"} | values
    return pl.DataFrame(rows, schema=samples.schema)
