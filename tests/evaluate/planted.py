"""A shop that is written by hand, and rankers whose quality is known because it is planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from factories import commit
from nightshift import contracts
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES, StageContext, arm_input

NIGHT = Night.parse("2017-05-20")
N_ITEMS = 40
WITHHELD = (5, 15, 25)
NEVER_SOLD = (8,)  # in the natural catalogue, without an event
Events = Mapping[str, Sequence[int]]  # user -> item codes, oldest first


def item_id(code: int) -> str:
    return f"i{code:03}"


def settings_for(folder: Any, **evaluate: Any) -> Settings:
    return Settings.load(
        {
            "home": str(folder),
            "compute": {"threads": 1, "device": "cpu"},
            "night": {"first": NIGHT.start.isoformat()},
            "evaluate": {"resamples": 1000, "min_users": 20, **evaluate},
        }
    )


def many_users(n: int, *, seed: int = 0, length: int = 12) -> tuple[Events, Events]:
    """Histories over what may be learnt, and what each user does in the night."""
    generator = np.random.default_rng(seed)
    weights = np.arange(N_ITEMS, 0, -1) ** 1.5
    learnable = np.array([i not in (*WITHHELD, *NEVER_SOLD) for i in range(N_ITEMS)])
    before, inside = {}, {}
    for user in range(n):
        p = weights * learnable
        before[f"u{user:04}"] = generator.choice(N_ITEMS, length, p=p / p.sum()).tolist()
        inside[f"u{user:04}"] = generator.choice(N_ITEMS, 3, replace=False).tolist()
    return before, inside


def _events(of: Events, start: Any, step: timedelta) -> pl.DataFrame:
    """Every user's first event has a time of its own: planted rankers know users by it."""
    rows = [
        (user, item_id(item), start + number * timedelta(seconds=1) + place * step, place)
        for number, (user, items) in enumerate(of.items())
        for place, item in enumerate(items)
    ]
    return pl.DataFrame(
        rows,
        schema={
            "user_key": pl.String,
            "item_id": pl.String,
            "occurred_at": pl.Datetime("us", "UTC"),
            "tie": pl.Int64,
        },
        orient="row",
    ).with_columns(
        kind=pl.lit("purchase"),
        value=pl.lit(None, pl.Float64),
        quantity=pl.lit(1.0),
        session_id=pl.lit(None, pl.String),
    )


def _as(frame: pl.DataFrame, schema: Any) -> Any:
    return frame.select(schema.names).to_arrow(compat_level=None).cast(schema)


def write_snapshot(
    lake: Lake,
    settings: Settings,
    before: Events,
    *,
    night: Night = NIGHT,
    repeats: bool = True,
    searches: pl.DataFrame | None = None,
) -> Manifest:
    events = _events(before, night.start - timedelta(days=30), timedelta(days=1))
    counts = events.group_by("item_id").agg(events=pl.len().cast(pl.Int64))
    items = (
        pl.DataFrame({"item_id": [item_id(i) for i in range(N_ITEMS)]})
        .join(counts, on="item_id", how="left")
        .sort("item_id")
        .with_columns(
            pl.col("events").fill_null(0),
            users=pl.lit(0, pl.Int64),
            events_7d=pl.lit(0, pl.Int64),
            last_event=pl.lit(None, pl.Datetime("us", "UTC")),
            listed_at=pl.lit(None, pl.Datetime("us", "UTC")),
            price=pl.lit(None, pl.Float64),
            text=pl.format("thing number {}", pl.col("item_id")),
            withheld=pl.col("item_id").is_in([item_id(i) for i in WITHHELD]),
            **{
                name: pl.lit(None, pl.String)
                for name in ("title", "description", "category", "brand", "price_band")
            },
        )
    )
    users = pl.DataFrame({"user_key": sorted(before)}).with_columns(
        segment=pl.lit(None, pl.String),
        events=pl.lit(0, pl.Int64),
        items=pl.lit(0, pl.Int64),
        first_event=pl.lit(None, pl.Datetime("us", "UTC")),
        last_event=pl.lit(None, pl.Datetime("us", "UTC")),
        top_categories=pl.lit([], pl.List(pl.String)),
        price_band=pl.lit(None, pl.String),
    )

    def run(ctx: StageContext) -> dict[str, Any]:
        shop = {"name": "planted", "description": "", "repeats": repeats}
        ctx.writer.write_json("shop.json", shop | {"target_kinds": ["purchase"]})
        ctx.writer.write_parquet("items.parquet", _as(items, contracts.ITEMS))
        ctx.writer.write_parquet("users.parquet", _as(users, contracts.USERS))
        found = contracts.SEARCHES.empty_table()
        if searches is not None:
            found = _as(searches, contracts.SEARCHES)
        ctx.writer.write_parquet("searches.parquet", found)
        ctx.writer.write_parquet("reviews.parquet", contracts.REVIEWS.empty_table())
        ctx.writer.write_parquet("events/2017-05.parquet", _as(events, contracts.EVENTS))
        return {"events": events.height, "planted": repr(sorted(before.items()))}

    return commit(lake, settings, night, STAGES["collect"], run)


def write_morning(
    lake: Lake,
    settings: Settings,
    inside: Events,
    *,
    night: Night = NIGHT,
    searches: pl.DataFrame | None = None,
) -> Manifest:
    events = _events(inside, night.start, timedelta(seconds=1))

    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_parquet("events.parquet", _as(events, contracts.EVENTS))
        found = contracts.SEARCHES.empty_table()
        if searches is not None:
            found = _as(searches, contracts.SEARCHES)
        ctx.writer.write_parquet("searches.parquet", found)
        return {"events": events.height, "users": len(inside), "dropped": {}}

    return commit(lake, settings, night, STAGES["morning"], run)


@dataclass
class Planted:
    """Puts a user's targets first for a planted share of users, then a fixed order of all items."""

    targets: dict[int, Sequence[int]]  # first history time -> items
    share: float
    seed: int = 0
    never: tuple[int, ...] = ()

    def top_k(self, histories: Any, k: int, *, candidates: Any, exclude_seen: bool) -> Any:
        allowed = np.ones(N_ITEMS, dtype=bool) if candidates is None else candidates.copy()
        allowed[list(self.never)] = False
        codes = np.full((len(histories), k), -1, dtype=np.int32)
        for user in range(len(histories)):
            first, last = histories.indptr[user], histories.indptr[user + 1]
            key = int(histories.times[first]) if last > first else -1
            lucky = np.random.default_rng([self.seed, max(key, 0) // 1_000_000]).random()
            order = [*(self.targets.get(key, ()) if lucky < self.share else ()), *range(N_ITEMS)]
            seen = set(histories.of(user).tolist()) if exclude_seen else set()
            best = [i for i in dict.fromkeys(order) if allowed[i] and i not in seen][:k]
            codes[user, : len(best)] = best
        return codes, np.where(codes >= 0, 1.0, -np.inf).astype(np.float32)


def targets_by_time(before: Events, inside: Events, night: Night = NIGHT) -> dict[int, Any]:
    events = _events(before, night.start - timedelta(days=30), timedelta(days=1))
    first = events.group_by("user_key").agg(pl.col("occurred_at").min().dt.epoch("us"))
    return {time: inside.get(user, ()) for user, time in first.iter_rows()}


def plant_models(monkeypatch: Any, rankers: dict[str, Any]) -> list[tuple[str, float]]:
    """Let `recommend.loading.load` give the ranker that a model's dataset names; logs the loads."""
    loads: list[tuple[str, float]] = []

    def load(
        lake: Lake,
        manifest: Manifest,
        *,
        item_ids: Any,
        vectors: Any,
        beta: float,
        gamma: float = 0.0,
        lean: float = 0.0,
        follow: float = 0.0,
        followers: Any = None,
        new_every: int = 0,
        events: Any = None,
        catalogue: Any = None,
        user_keys: Any = (),
        prefix: str = "",
    ) -> Any:
        name = prefix + str(manifest.stats["planted"])
        loads.append((name, beta))
        return rankers[name]

    monkeypatch.setattr("nightshift.recommend.loading.load", load)
    return loads


def inputs_for(
    lake: Lake,
    settings: Settings,
    before: Events,
    inside: Events,
    *,
    night: Night = NIGHT,
    recipe_id: str = "recipe-1",
    arms: Sequence[str] = ("control", "challenger"),
    repeats: bool = True,
    searches: tuple[pl.DataFrame, pl.DataFrame] | None = None,
) -> dict[str, Manifest]:
    """Everything that `evaluate` reads on a first night; arms name their planted ranker."""
    past, asked = searches or (None, None)
    snapshot = write_snapshot(lake, settings, before, night=night, repeats=repeats, searches=past)
    recipe = {"recipe_id": recipe_id, "beta": {"control": 0.2, "challenger": 0.3}, "gamma": 0.0}

    def write_recipe(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json("recipe.json", recipe)
        return {"recipe_id": recipe_id}

    def write_vectors(ctx: StageContext) -> dict[str, Any]:
        vectors = np.random.default_rng(1).normal(size=(N_ITEMS, 384)).astype(np.float16)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = np.arange(N_ITEMS, dtype=np.int32)
        ctx.writer.write_tensors("items.safetensors", {"vectors": vectors, "row_of_item": rows})
        return {}

    def write_blend(ctx: StageContext) -> dict[str, Any]:
        for arm in arms:
            ctx.writer.write_parquet(f"{arm}.parquet", contracts.SAMPLES.empty_table())
        return {"arms": list(arms), "rows": {}}

    def model(ctx: StageContext) -> dict[str, Any]:
        return {"planted": ctx.parts["arm"]}

    def put(stage: str, run: Any, **parts: str) -> Manifest:
        return commit(lake, settings, night, STAGES[stage], run, parts=parts)

    inputs = {
        "snapshot": snapshot,
        "vectors": put("embed", write_vectors),
        "morning": write_morning(lake, settings, inside, night=night, searches=asked),
        "recipe": put("tune", write_recipe),
        "blend": put("blend", write_blend),
    }
    for arm in arms:
        for seed in settings.finetune.seeds:
            inputs[arm_input(arm, seed)] = put("finetune", model, arm=arm, seed=str(seed))
    return inputs


def evaluate(
    lake: Lake, settings: Settings, inputs: dict[str, Manifest], night: Night = NIGHT
) -> Manifest:
    from nightshift.evaluate.stage import run

    return commit(lake, settings, night, STAGES["evaluate"], run, inputs)


def row(rows: list[dict[str, Any]], arm: str, slice_: str, metric: str, against: Any = None) -> Any:
    found = [
        r
        for r in rows
        if (r["arm"], r["slice"], r["metric"], r["against"], r["seed"])
        == (arm, slice_, metric, against, None)
    ]
    assert len(found) == 1, f"{len(found)} rows for {arm} {slice_} {metric} {against}"
    return found[0]
