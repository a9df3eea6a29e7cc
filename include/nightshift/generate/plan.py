"""Stage `plan`: which items and users are short of samples, and what tonight's budget buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from nightshift import contracts
from nightshift.errors import SettingsError
from nightshift.generate.allowance import allowances
from nightshift.generate.budget import Bid, Grant, split
from nightshift.generate.chunks import chunk_numbers
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy, strategy_names
from nightshift.generate.strategies.base import Strategy
from nightshift.prices import is_known, is_priced, rates_of
from nightshift.settings import GenerateSettings, Settings
from nightshift.stages import StageContext


@dataclass(frozen=True, slots=True)
class Planned:
    """What a night would make, before anything of it is written."""

    targets: pl.DataFrame
    """contracts.TARGETS"""
    samples: dict[str, int]
    document: dict[str, Any]
    """Of plan.json: budget, estimate, each shard's allowance, what was cut, who cannot work."""


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `targets.parquet` (contracts.TARGETS) and `plan.json` (`Planned.document`).

    Raises:
        SettingsError: the settings name a strategy that does not exist, or limit money and do not
            price all that is planned.
    """
    sources = Sources.of(ctx.lake, ctx.settings, ctx.inputs)
    planned = plan_night(sources)
    ctx.seeds["generate"] = ctx.settings.generate.seed
    ctx.writer.write_parquet("targets.parquet", planned.targets.to_arrow().cast(contracts.TARGETS))
    ctx.writer.write_json("plan.json", planned.document)
    shards = planned.targets["shard"].unique(maintain_order=True).to_list()
    return {"shards": shards, "samples": planned.samples}


def plan_night(sources: Sources) -> Planned:
    """The plan of a night; no language model is asked for it.

    Raises:
        SettingsError: as `run`.
    """
    settings = sources.settings.generate
    check_settings(sources.settings)
    strategies = {name: create_strategy(name, sources) for name in settings.strategies}
    lacking = {name: why for name, s in strategies.items() if (why := s.missing()) is not None}
    for name in lacking:
        del strategies[name]
    wishes = _wishes(strategies, settings)
    inputs = {name: strategy.describe() for name, strategy in strategies.items()}
    models = {name: _model_of(described) for name, described in inputs.items()}
    bids = {
        name: Bid(
            int(wishes[name]["budget"].sum()),
            strategy.price(),
            settings.shares.get(name, strategy.share),
            rates_of(sources.settings, models[name]),
        )
        for name, strategy in strategies.items()
    }
    _check_prices(sources.settings, {n: models[n] for n, bid in bids.items() if bid.wanted})
    grants = split(bids, settings.budget)
    taken = {name: take(wishes[name], grants[name].samples) for name in strategies}
    scales = {name: strategy.scale for name, strategy in strategies.items()}
    targets = cut_into_shards(taken, scales, settings)
    samples = {name: int(frame["budget"].sum()) for name, frame in taken.items()}
    allowed = allowances(targets, bids, settings.budget)
    limited = settings.budget.money is not None
    document = {
        "budget": settings.budget.model_dump(mode="json"),
        "estimate": _estimate(samples, bids, models),
        "allowances": {shard: asdict(one) for shard, one in allowed.items()},
        # Prices are no part of a key, unless the plan was cut by them.
        "rates": {name: asdict(bid.rates) for name, bid in bids.items()} if limited else None,
        "targets": {name: frame.height for name, frame in taken.items()},
        "cut": _cuts(bids, grants, samples),
        "lacking": lacking,
        "inputs": inputs,
    }
    return Planned(targets, samples, document)


def _wishes(strategies: dict[str, Strategy], settings: GenerateSettings) -> dict[str, pl.DataFrame]:
    """What each would make; its hint is a plain part of the samples, before anybody leaves some."""
    shares = {name: settings.shares.get(name, s.share) for name, s in strategies.items()}
    whole = sum(shares.values())
    samples = settings.budget.samples
    return {n: s.plan(int(samples * shares[n] / whole)) for n, s in strategies.items()}


def check_settings(settings: Settings) -> None:
    """What would only show when half the plan is made.

    Raises:
        SettingsError: `generate.shares` names no strategy; money is limited, but nothing has a
            price.
    """
    unknown = sorted(set(settings.generate.shares) - set(strategy_names()))
    if unknown:
        raise SettingsError(
            f"generate.shares names {', '.join(map(repr, unknown))}, which is no strategy.",
            hint=f"it takes {', '.join(strategy_names())}",
        )
    if settings.generate.budget.money is not None and not is_priced(settings):
        raise SettingsError(
            "generate.budget.money is set, but the settings name no price to count by.",
            hint="set cost.models, cost.gpu_hour or cost.cpu_hour",
        )


def _check_prices(settings: Settings, models: Mapping[str, str | None]) -> None:
    """A limit of money binds only what has a price.

    Args:
        models: of the strategies that would make something.

    Raises:
        SettingsError: money is limited, and a planned model has no known price.
    """
    if settings.generate.budget.money is None:
        return
    for strategy, model in models.items():
        if model is not None and not is_known(settings, model):
            named = repr(model) if model else "whose name its server did not tell"
            raise SettingsError(
                f"generate.budget.money is set, but {strategy}'s model, {named}, has no price.",
                hint=f"set cost.models.{model or settings.generate.engine.name}, 0 where it costs "
                "nothing; a server that is down tells no name: set generate.engine.model_name",
            )


def _model_of(described: dict[str, Any]) -> str | None:
    """The name of the language model that writes for a strategy; empty where it is missing."""
    model = described.get("model")
    return str(model.get("name", "")) if isinstance(model, dict) else None


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


def _estimate(
    samples: dict[str, int], bids: dict[str, Bid], models: dict[str, str | None]
) -> dict[str, dict[str, Any]]:
    """What the samples cost, by what each strategy says of itself; at most, where it is tokens."""
    return {
        name: {
            "samples": count,
            "prompt_tokens": int(
                count * bids[name].price.prompt_tokens
                + (bids[name].price.fit_prompt_tokens if count else 0.0)
            ),
            "tokens": int(count * bids[name].price.tokens),
            "seconds": round(count * bids[name].price.seconds, 3),
            "fit_seconds": bids[name].price.fit_seconds if count else 0.0,
            "model": models[name],
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
