"""Stage `plan`: which items and users are short of samples, and what tonight's budget buys."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from nightshift import contracts
from nightshift.generate.adapters import taught
from nightshift.generate.budget import Bid, Grant, split
from nightshift.generate.chunks import chunk_numbers
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.base import Strategy
from nightshift.settings import GenerateSettings
from nightshift.stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `targets.parquet` (contracts.TARGETS) and `plan.json` (budget, estimate, cuts).

    Raises:
        SettingsError: `generate.strategies` names a strategy that does not exist.
    """
    settings = ctx.settings.generate
    sources = Sources(
        ctx.lake,
        ctx.settings,
        ctx.inputs["snapshot"],
        ctx.inputs["vectors"],
        adapter=taught(ctx.lake, ctx.settings, ctx.inputs.get("adapter")),
    )
    strategies = {name: create_strategy(name, sources) for name in settings.strategies}
    ctx.seeds["generate"] = settings.seed
    lacking = {name: why for name, s in strategies.items() if (why := s.missing()) is not None}
    for name in lacking:
        del strategies[name]
    wishes = {name: s.plan(_hint(s, strategies, settings)) for name, s in strategies.items()}
    bids = {
        name: Bid(int(wishes[name]["budget"].sum()), strategy.price(), strategy.share)
        for name, strategy in strategies.items()
    }
    grants = split(bids, settings.budget)
    taken = {name: take(wishes[name], grants[name].samples) for name in strategies}
    scales = {name: strategy.scale for name, strategy in strategies.items()}
    targets = cut_into_shards(taken, scales, settings)
    ctx.writer.write_parquet("targets.parquet", targets.to_arrow().cast(contracts.TARGETS))
    samples = {name: int(frame["budget"].sum()) for name, frame in taken.items()}
    ctx.writer.write_json(
        "plan.json",
        {
            "budget": settings.budget.model_dump(mode="json"),
            "estimate": _estimate(samples, bids),
            "targets": {name: frame.height for name, frame in taken.items()},
            "cut": _cuts(bids, grants, samples),
            "lacking": lacking,
            "inputs": {name: s.describe() for name, s in strategies.items()},
        },
    )
    shards = targets["shard"].unique(maintain_order=True).to_list()
    return {"shards": shards, "samples": samples}


def _hint(strategy: Strategy, strategies: dict[str, Strategy], settings: GenerateSettings) -> int:
    """A strategy's plain part of the sample budget, before anybody leaves some."""
    shares = sum(other.share for other in strategies.values())
    return int(settings.budget.samples * strategy.share / shares)


def take(wishes: pl.DataFrame, samples: int) -> pl.DataFrame:
    """From the top until `samples` are spent; the last target may get less than it wants."""
    before = pl.col("budget").cum_sum() - pl.col("budget")
    return (
        wishes.with_columns(budget=pl.min_horizontal("budget", samples - before))
        .filter(pl.col("budget") > 0)
        .with_columns(pl.col("budget").cast(pl.Int64))
    )


def cut_into_shards(
    taken: dict[str, pl.DataFrame], scales: dict[str, int], settings: GenerateSettings
) -> pl.DataFrame:
    """Number the targets, and give each its chunk and shard: contracts.TARGETS, in that order."""
    units = [frame.height / scales[name] for name, frame in taken.items()]
    size = _targets_per_shard(units, settings)
    parts = []
    for name, frame in taken.items():
        if frame.is_empty():
            continue
        chunk = chunk_numbers(frame, settings.chunk_targets * scales[name])
        n_chunks = int(chunk.max()) + 1
        n_shards = min(math.ceil(frame.height / (size * scales[name])), n_chunks)
        number = pl.Series(chunk * n_shards // n_chunks).cast(pl.String).str.zfill(3)
        parts.append(
            frame.with_columns(
                strategy=pl.lit(name),
                chunk=pl.Series(chunk),
                shard=pl.format("{}-{}", pl.lit(name), number),
            ).sort("chunk", maintain_order=True)
        )
    if not parts:
        return pl.DataFrame(contracts.TARGETS.empty_table())
    return pl.concat(parts).with_row_index("target_id").select(contracts.TARGETS.names)


def _targets_per_shard(units: list[float], settings: GenerateSettings) -> int:
    """`shard_targets`, or as many more as `max_shards` over all strategies ask for.

    Args:
        units: targets of each strategy, divided by its scale.
    """
    size = settings.shard_targets
    while sum(math.ceil(unit / size) for unit in units) > settings.max_shards:
        if size >= max(units):
            break  # one shard a strategy: fewer there cannot be
        size *= 2
    return size


def _estimate(samples: dict[str, int], bids: dict[str, Bid]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "samples": count,
            "tokens": int(count * bids[name].price.tokens),
            "seconds": round(count * bids[name].price.seconds, 1),
        }
        for name, count in samples.items()
    }


def _cuts(
    bids: dict[str, Bid], grants: dict[str, Grant], samples: dict[str, int]
) -> list[dict[str, Any]]:
    return [
        {"strategy": name, "wanted": bids[name].wanted, "planned": samples[name], "why": why}
        for name, grant in grants.items()
        if (why := grant.cut_by) is not None
    ]
