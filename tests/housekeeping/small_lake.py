"""A lake of many nights that are made within a second: real manifests, inputs and sharing.

Every dataset is written by the table of stages from the inputs it resolves; only the files are
tiny. Shared are, as in real nights, event files of snapshots, shards of `samples`, and the recipe
between two tunings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from made_up_nights import sample_rows, write_stage
from nightshift import contracts
from nightshift.commands.standing import standings
from nightshift.housekeeping.inventory import inventory
from nightshift.lake import MANIFEST, Lake
from nightshift.manifest import FileEntry, Manifest
from nightshift.night import Night, parse_time
from nightshift.registry.alias import move_alias
from nightshift.registry.log import append
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, StageContext

FIRST = Night.parse("2017-05-20")
DAY = timedelta(days=1)
LATER = 10 * 86_400.0
"""Seconds after which the grace is over for all that was written."""
TUNED_EVERY = 3
SHARDS = ("text_neighbours-000", "negatives-000")
ITEMS = pl.DataFrame({"item_id": [f"i{number}" for number in range(20)]})
RETENTION = {"days": 2, "rollback_states": 4, "inner_nights": 1}
"""Of six nights: the last two in full, and the last inner one of two."""


def settings_for(home: Any, **tree: Any) -> Settings:
    base = {"home": str(home), "night": {"first": FIRST.start.isoformat()}}
    tuned = {"evaluate": {"pool_nights": 2}, "blend": {"ttl_days": 1}, "retention": RETENTION}
    return Settings.load(base).with_(tuned).with_(tree)


def night_number(number: int) -> Night:
    return Night(FIRST.start + number * DAY, FIRST.end + number * DAY)


def inner_of(night: Night) -> Night:
    return Night(parse_time("2017-04-01"), night.start, inner=True)


def write_nights(settings: Settings, count: int, *, since: int = 0) -> list[Night]:
    """Consecutive nights, each from the state of the one before."""
    nights = [night_number(number) for number in range(since, since + count)]
    for night in nights:
        write_night(settings, night)
    return nights


def write_night(settings: Settings, night: Night) -> None:
    lake = Lake.of(settings)
    for name in NIGHTLY:
        if name == "tune" and _tunes(night):
            for before in ("collect", "embed", "plan", "generate", "gather", "inspect", "morning"):
                write_stage(lake, settings, inner_of(night), before, WRITERS[before])
        write_stage(lake, settings, night, name, WRITERS[name])


def _tunes(night: Night) -> bool:
    return ((night.start - FIRST.start) // DAY) % TUNED_EVERY == 0


def _collect(ctx: StageContext) -> dict[str, Any]:
    """One file a day of history; those of the snapshot before are shared."""
    known: dict[str, FileEntry] = {}
    suffix = "-inner" * ctx.night.inner
    for name in ctx.lake.names("snapshot"):
        before = ctx.lake.find("snapshot", name)
        if before is not None and name.endswith("-inner") == ctx.night.inner:
            known |= {entry.name: entry for entry in before.named("events/")}
    day = ctx.night.start - 5 * DAY
    while day < ctx.night.start:
        name = f"events/{day:%Y-%m-%d}.json"
        if name in known:
            ctx.writer.reuse(known[name])
        else:
            ctx.writer.write_json(name, f"events of {day}{suffix}")
        day += DAY
    ctx.writer.write_json("items.json", f"catalogue of {ctx.night.key}")
    return {}


def _shard(ctx: StageContext) -> dict[str, Any]:
    ctx.writer.write_json("samples.parquet", [ctx.night.key, ctx.parts["shard"]])
    return {"strategy": ctx.parts["shard"].rpartition("-")[0]}


def _gather(ctx: StageContext) -> dict[str, Any]:
    for shard in SHARDS:
        entry = ctx.inputs[f"shard:{shard}"].file("samples.parquet")
        ctx.writer.reuse(replace(entry, name=f"shards/{shard}.parquet"))
    return {}


def _samples(night: Night) -> pl.DataFrame:
    rows = sample_rows(ITEMS, "text_neighbours", "interaction", 5, night.key)
    return rows.with_columns(sample_id=pl.format("{}-{}", pl.lit(night.key), "sample_id"))


def _write_samples(ctx: StageContext, name: str, frame: pl.DataFrame) -> None:
    table = frame.select(contracts.SAMPLES.names).to_arrow(compat_level=None)
    ctx.writer.write_parquet(name, table.cast(contracts.SAMPLES))


def _inspect(ctx: StageContext) -> dict[str, Any]:
    _write_samples(ctx, "accepted.parquet", _samples(ctx.night))
    ctx.writer.write_bytes("docs/expectations/interaction.html", ctx.night.key.encode())
    return {}


def _tune(ctx: StageContext) -> dict[str, Any]:
    if not _tunes(ctx.night):
        before = ctx.lake.get_ref(ctx.inputs["parent"].inputs["recipe"])
        ctx.writer.reuse(before.file("recipe.json"))
        return dict(before.stats)
    ctx.writer.write_json("recipe.json", {"tuned_in": ctx.night.key})
    return {"recipe_id": "one", "tuned_as_of": ctx.night.start.isoformat()}


def _blend(ctx: StageContext) -> dict[str, Any]:
    """Tonight's samples, and those that the parent's blend holds of one night before."""
    frames = [_samples(ctx.night)]
    if "previous" in ctx.inputs:
        before = ctx.lake.read(ctx.inputs["previous"], "challenger.parquet")
        frames.append(before.filter(pl.col("night") == f"{ctx.night.start - DAY:%Y-%m-%d}"))
    _write_samples(ctx, "challenger.parquet", pl.concat(frames))
    return {"arms": ["control", "challenger"]}


def _finetune(ctx: StageContext) -> dict[str, Any]:
    ctx.writer.write_json("model.json", [ctx.night.key, ctx.parts["arm"]])
    return {}


def _evaluate(ctx: StageContext) -> dict[str, Any]:
    ctx.writer.write_json("results.json", [ctx.night.key])
    return {"empty": False, "recipe_id": "one", "users": 1, "pooled_nights": 1}


def _promote(ctx: StageContext) -> dict[str, Any]:
    night = ctx.night
    body = {"night": night.key, "end": night.end.isoformat(), "live_line": "blend", "reasons": []}
    ctx.writer.write_json("verdict.json", body)
    append(ctx.lake, body, key16=ctx.writer.folder.rpartition("/")[2])
    return {"decision": "challenger", "live_line": "blend"}


def _refresh(ctx: StageContext) -> dict[str, Any]:
    for line in ("real", "blend"):
        ctx.writer.write_json(f"{line}/model.json", ctx.night.key)
    tuned_as_of = ctx.inputs["recipe"].stats["tuned_as_of"]
    return {"live_line": "blend", "night": ctx.night.key, "tuned_as_of": tuned_as_of}


def _score(ctx: StageContext) -> dict[str, Any]:
    ctx.writer.write_json("recommendations.json", [ctx.night.key, ctx.settings.score.top_n])
    move_alias(ctx.lake, ctx.inputs["state"], "blend", ctx.night)
    return {}


def _named(name: str) -> Callable[[StageContext], dict[str, Any]]:
    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json(name, ctx.night.key)
        return {"shards": list(SHARDS)} if name == "plan.json" else {}

    return run


WRITERS: dict[str, Callable[[StageContext], dict[str, Any]]] = {
    "collect": _collect,
    "embed": _named("vectors.json"),
    "plan": _named("plan.json"),
    "generate": _shard,
    "gather": _gather,
    "inspect": _inspect,
    "tune": _tune,
    "blend": _blend,
    "finetune": _finetune,
    "morning": _named("events.json"),
    "evaluate": _evaluate,
    "promote": _promote,
    "refresh": _refresh,
    "score": _score,
    "report": _named("report.json"),
}


# --- what tests ask -----------------------------------------------------------------------------


def manifests(lake: Lake) -> list[Manifest]:
    """Every dataset there is, whatever points to it."""
    read = (lake.read_bytes(f"{one.folder}/{MANIFEST}") for one in inventory(lake) if one.whole)
    return [Manifest.from_json(data) for data in read if data is not None]


def broken(lake: Lake) -> list[str]:
    """Files of any dataset that are gone or damaged."""
    return [f"{one.folder}: {name}" for one in manifests(lake) for name in lake.verify(one)]


def states_of(settings: Settings, night: Night) -> set[str]:
    """How the stages of a night stand."""
    return {one.state for one in standings(Lake.of(settings), night, settings).values()}


def objects(lake: Lake) -> set[str]:
    """Every object, without what the lease of housekeeping leaves."""
    top = [name for name in lake.names("") if not name.startswith("_")]
    found = {one.path for name in top for one in lake.stored(name)}
    return {path for path in found if not path.startswith("leases/housekeeping/")}


def plant(lake: Lake, path: str, text: str = "half a file") -> str:
    lake.write_bytes(path, json.dumps(text).encode())
    return path
