"""A small shop with structure one can check: two towns, each with a street of items.

Customers of a town buy there alone, and walk along its street: behind item n comes n + 1 or n + 2
more often than not.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from factories import NIGHT, commit, make_settings, write_vectors
from nightshift import contracts
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import Strategy
from nightshift.lake import Lake
from nightshift.stages import STAGES

STREET = 40
"""Items of a town."""
LONGEST = 8
_GOODS = ("bread", "apples", "tea", "soap")
_TOWNS = ("north", "south")


def two_towns(
    folder: Path, *, customers: int = 500, repeats: bool = False, over: dict[str, Any] | None = None
) -> Sources:
    """The shop in a lake of its own."""
    settings = make_settings(folder).with_({"generate": over or {}})
    lake = Lake.of(settings)
    snapshot = commit(
        lake, settings, NIGHT, STAGES["collect"], lambda ctx: _write(ctx, customers, repeats)
    )
    return Sources(lake, settings, snapshot, write_vectors(lake, settings, snapshot))


def town_of(item_ids: np.ndarray) -> np.ndarray:
    """0 or 1: [n]."""
    return np.array([_TOWNS.index(item.split("-")[0]) for item in item_ids])


def street_steps(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far along the street an item is behind another: [n], 0 to STREET - 1."""
    one, two = (np.array([int(i.split("-")[1]) for i in ids]) for ids in (before, after))
    return (two - one) % STREET


def sequences(samples: pl.DataFrame) -> list[list[str]]:
    """Whole sequences, oldest first."""
    rows = samples.select(whole=pl.col("context_items").list.concat(pl.concat_list("item_id")))
    return rows["whole"].to_list()


def neighbours(found: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Every item and the one behind it."""
    before = [item for one in found for item in one[:-1]]
    after = [item for one in found for item in one[1:]]
    return np.array(before), np.array(after)


def real_sequences(sources: Sources) -> list[list[str]]:
    ids = sources.snapshot.items["item_id"].to_numpy()
    histories = sources.snapshot.histories
    return [list(ids[histories.of(user)]) for user in range(len(histories))]


def make(strategy: Strategy, count: int = 10**6) -> pl.DataFrame:
    wishes = strategy.plan(count).head(count)
    strategy.fit()
    return pl.DataFrame(strategy.generate(wishes).samples)


def _busy(rng: np.random.Generator) -> int:
    """The beginning of a street is its busy end."""
    return int(STREET * rng.random() ** 3)


def _walk(rng: np.random.Generator, length: int, repeats: bool) -> list[int]:
    street = [_busy(rng)]
    while len(street) < length:
        along = (street[-1] + int(rng.choice([1, 2]))) % STREET
        place = along if rng.random() < 0.8 else _busy(rng)
        if repeats or place not in street:
            street.append(place)
    return street


def _write(ctx: Any, customers: int, repeats: bool) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    rows, users = [], []
    for number in range(customers):
        town = int(rng.random() < 0.4)
        length = int(rng.integers(2, LONGEST + 1)) if rng.random() < 0.8 else 12
        # One in ten has moved.
        users.append((f"u{number:05d}", f"lives {_TOWNS[town ^ int(rng.random() < 0.1)]}", length))
        for place, item in enumerate(_walk(rng, length, repeats)):
            rows.append((f"u{number:05d}", f"{_TOWNS[town]}-{item:02d}", place))
    events = pl.DataFrame(rows, schema=["user_key", "item_id", "place"], orient="row").select(
        "user_key",
        "item_id",
        kind=pl.lit("purchase"),
        occurred_at=pl.lit(NIGHT.start - timedelta(days=30)).dt.cast_time_unit("us")
        + pl.duration(hours=pl.col("place")),
        value=pl.lit(1.0),
        quantity=pl.lit(1.0),
        session_id=pl.lit(None, pl.String),
        tie=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    names = [(f"{town}-{n:02d}", town, n) for town in _TOWNS for n in range(STREET)]
    items = (
        pl.DataFrame(names, schema=["item_id", "town", "n"], orient="row")
        .with_columns(good=pl.col("n").map_elements(lambda n: _GOODS[n % 4], pl.String))
        .select(
            "item_id",
            title=pl.format("{} from the {}, number {}", "good", "town", "n"),
            description=pl.lit(None, pl.String),
            category=pl.format("{} of the {}", "good", "town"),
            brand=pl.lit(None, pl.String),
            price=pl.lit(None, pl.Float64),
            price_band=pl.lit(None, pl.String),
            listed_at=pl.lit(None, pl.Datetime("us", "UTC")),
            text=pl.format("{} from the {}, number {}", "good", "town", "n"),
            withheld=pl.lit(False),
        )
    )
    counts = events.group_by("item_id").agg(
        events=pl.len().cast(pl.Int64),
        users=pl.col("user_key").n_unique().cast(pl.Int64),
        last_event=pl.col("occurred_at").max(),
    )
    items = items.join(counts, on="item_id", how="left").with_columns(
        pl.col("events", "users").fill_null(0), events_7d=pl.lit(0, pl.Int64)
    )
    people = pl.DataFrame(users, schema=["user_key", "segment", "events"], orient="row").select(
        "user_key",
        "segment",
        "events",
        items="events",
        first_event=pl.lit(NIGHT.start - timedelta(days=30)).dt.cast_time_unit("us"),
        last_event=pl.lit(NIGHT.start - timedelta(days=29)).dt.cast_time_unit("us"),
        top_categories=pl.lit([], pl.List(pl.String)),
        price_band=pl.lit(None, pl.String),
    )
    ctx.writer.write_json(
        "shop.json",
        {
            "name": "two towns",
            "description": "two towns, a street each",
            "repeats": repeats,
            "target_kinds": ["purchase"],
            "currency": "USD",
        },
    )
    for name, frame, schema in (
        ("items.parquet", items.sort("item_id"), contracts.ITEMS),
        ("users.parquet", people.sort("user_key"), contracts.USERS),
        ("events/2017-04.parquet", events, contracts.EVENTS),
    ):
        table = frame.select(schema.names).to_arrow().cast(schema)
        ctx.writer.write_parquet(name, table)
    for name, schema in (
        ("searches.parquet", contracts.SEARCHES),
        ("reviews.parquet", contracts.REVIEWS),
    ):
        ctx.writer.write_parquet(name, schema.empty_table())
    return {"events": events.height, "items": items.height, "users": customers, "dropped": {}}
