"""A shop that is written down in a test: every event, item, vector and sample by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from factories import commit
from nightshift import contracts
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES, StageContext

NIGHT = Night.parse("2017-05-20")
HOUR = timedelta(hours=1)
WIDTH = 16
"""Of the sentence embeddings."""
TINY_MODEL = {"dim": 16, "layers": 1, "heads": 2, "max_length": 8, "features": 16}
TINY = {
    "first_steps": 12,
    "warm_steps": 6,
    "batch": 8,
    "negatives": 16,
    "query_steps": 0,
    "model": TINY_MODEL,
}

Lists = Mapping[str, Sequence[str]]  # user -> items, oldest first


def settings_for(folder: Path, **tree: Any) -> Settings:
    base: dict[str, Any] = {
        "home": str(folder),
        "compute": {"threads": 1, "device": "cpu"},
        "night": {"first": NIGHT.start.isoformat()},
        "finetune": TINY,
    }
    return Settings.load(base).with_(tree)


def histories(lists: Sequence[Sequence[int]]) -> Histories:
    """Item codes of each user; times are positions."""
    lengths = [len(items) for items in lists]
    flat = [item for items in lists for item in items]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(indptr, np.array(flat, dtype=np.int32), np.arange(len(flat), dtype=np.int64))


def unit_vectors(n: int, *, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def events(
    lists: Lists, first: datetime, *, step: timedelta = HOUR, kind: str = "purchase"
) -> pl.DataFrame:
    """Each user's events `step` apart, from `first` on."""
    rows = [
        (user, item, kind, first + place * step, place)
        for user, items in lists.items()
        for place, item in enumerate(items)
    ]
    return event_rows(rows)


def event_rows(rows: Iterable[tuple[str, str, str, datetime, int]]) -> pl.DataFrame:
    """(user, item, kind, time, tie) as contracts.EVENTS."""
    schema = {
        "user_key": pl.String,
        "item_id": pl.String,
        "kind": pl.String,
        "occurred_at": pl.Datetime("us", "UTC"),
        "tie": pl.Int64,
    }
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(
        value=pl.lit(None, pl.Float64),
        quantity=pl.lit(None, pl.Float64),
        session_id=pl.lit(None, pl.String),
    )


def write_snapshot(
    lake: Lake,
    settings: Settings,
    before: pl.DataFrame,
    items: Sequence[str],
    *,
    night: Night = NIGHT,
    repeats: bool = True,
    withheld: Sequence[str] = (),
    users: Sequence[str] | None = None,
    searches: pl.DataFrame | None = None,
    brands: Mapping[str, str] | None = None,
    files: int = 2,
) -> Manifest:
    """A snapshot of these events, spread over `files` files in no order."""
    counts = before.group_by("item_id").agg(counted=pl.len().cast(pl.Int64))
    catalogue = (
        _nulls(contracts.ITEMS, len(items))
        .with_columns(
            item_id=pl.Series(sorted(items), dtype=pl.String),
            text=pl.Series([f"thing {item}" for item in sorted(items)]),
        )
        .join(counts, on="item_id", how="left", maintain_order="left")
        .with_columns(
            events=pl.col("counted").fill_null(0),
            users=pl.lit(0, pl.Int64),
            events_7d=pl.lit(0, pl.Int64),
            withheld=pl.col("item_id").is_in(list(withheld)),
            brand=pl.col("item_id").replace_strict(
                brands or {}, default=None, return_dtype=pl.String
            ),
        )
    )
    keys = sorted(before["user_key"].unique()) if users is None else sorted(users)
    people = _nulls(contracts.USERS, len(keys)).with_columns(
        user_key=pl.Series(keys, dtype=pl.String), events=pl.lit(0, pl.Int64)
    )
    shuffled = before.sample(fraction=1.0, shuffle=True, seed=1)

    def run(ctx: StageContext) -> dict[str, Any]:
        shop = {"name": "by hand", "description": "", "repeats": repeats}
        ctx.writer.write_json("shop.json", shop | {"target_kinds": ["purchase"]})
        ctx.writer.write_parquet("items.parquet", as_table(catalogue, contracts.ITEMS))
        ctx.writer.write_parquet("users.parquet", as_table(people, contracts.USERS))
        asked = contracts.SEARCHES.empty_table()
        if searches is not None:
            asked = as_table(searches, contracts.SEARCHES)
        ctx.writer.write_parquet("searches.parquet", asked)
        ctx.writer.write_parquet("reviews.parquet", contracts.REVIEWS.empty_table())
        for number in range(files):
            part = as_table(shuffled[number::files], contracts.EVENTS)
            ctx.writer.write_parquet(f"events/2017-05-{number:02}.parquet", part)
        return {"events": before.height, "items": len(items), "users": len(keys)}

    return commit(lake, settings, night, STAGES["collect"], run)


def search_rows(*rows: tuple[str, str | None]) -> pl.DataFrame:
    """(query, item) as contracts.SEARCHES."""
    return _nulls(contracts.SEARCHES, len(rows)).with_columns(
        query=pl.Series([query for query, _ in rows], dtype=pl.String),
        item_id=pl.Series([item for _, item in rows], dtype=pl.String),
    )


def write_morning(
    lake: Lake, settings: Settings, inside: pl.DataFrame, *, night: Night = NIGHT
) -> Manifest:
    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_parquet("events.parquet", as_table(inside, contracts.EVENTS))
        ctx.writer.write_parquet("searches.parquet", contracts.SEARCHES.empty_table())
        return {"events": inside.height}

    return commit(lake, settings, night, STAGES["morning"], run)


def write_vectors(
    lake: Lake, settings: Settings, vectors: np.ndarray, *, night: Night = NIGHT
) -> Manifest:
    """Of the catalogue, in order of item id."""

    def run(ctx: StageContext) -> dict[str, Any]:
        rows = np.arange(len(vectors), dtype=np.int32)
        tensors = {"vectors": vectors.astype(np.float16), "row_of_item": rows}
        ctx.writer.write_tensors("items.safetensors", tensors)
        return {}

    return commit(lake, settings, night, STAGES["embed"], run)


def samples(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """contracts.SAMPLES; what a row does not say is that of a good interaction."""
    filled = [
        {
            "sample_id": f"s{number:03}",
            "kind": "interaction",
            "strategy": "text_neighbours",
            "item_id": "a",
            "user_key": None,
            "context_items": [],
            "text": None,
            "label": 1.0,
            "weight": 1.0,
            "scores": "{}",
            "lineage": "{}",
            "night": NIGHT.key,
            "shard": "by-hand",
            **row,
        }
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=schema_of(contracts.SAMPLES))


def write_blend(
    lake: Lake, settings: Settings, arms: Mapping[str, pl.DataFrame], *, night: Night = NIGHT
) -> Manifest:
    def run(ctx: StageContext) -> dict[str, Any]:
        for name, frame in arms.items():
            ctx.writer.write_parquet(f"{name}.parquet", as_table(frame, contracts.SAMPLES))
        return {"arms": list(arms), "rows": {name: frame.height for name, frame in arms.items()}}

    return commit(lake, settings, night, STAGES["blend"], run)


def write_recipe(
    lake: Lake, settings: Settings, recipe: Mapping[str, Any], *, night: Night = NIGHT
) -> Manifest:
    body = {"recipe_id": "by-hand", "tuned_as_of": night.start.isoformat(), **recipe}

    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json("recipe.json", body)
        ctx.writer.write_json("trials.json", {"trials": []})
        return {name: body[name] for name in ("recipe_id", "tuned_as_of")}

    return commit(lake, settings, night, STAGES["tune"], run)


def as_table(frame: pl.DataFrame, schema: Any) -> Any:
    return frame.select(schema.names).to_arrow(compat_level=None).cast(schema)


def schema_of(schema: Any) -> Any:
    made = pl.from_arrow(schema.empty_table())
    assert isinstance(made, pl.DataFrame)
    return made.schema


def _nulls(schema: Any, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {name: pl.Series([None] * rows, dtype=of) for name, of in schema_of(schema).items()}
    )
