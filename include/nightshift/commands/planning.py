"""`nightshift plan`: the pre-flight estimate; with `--dry-run` nothing is written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from nightshift import stages
from nightshift.commands.common import emit, night_of, settings_of
from nightshift.commands.estimate import Pace, paces
from nightshift.generate.strategies import needs_model
from nightshift.lake import Lake
from nightshift.prices import estimate_of, is_priced
from nightshift.recommend.choosing.candidates import inner_budget, tunable
from nightshift.report.summary import table
from nightshift.report.words import NOTHING, count, duration, money, plural
from nightshift.settings import Settings
from nightshift.stages import STAGES

_SUMMED = ("samples", "prompt_tokens", "tokens", "seconds", "gpu_hours", "money")


def try_plan(arguments: argparse.Namespace) -> int:
    """`--dry-run`: what a plan would be, with nothing of it in the lake."""
    from nightshift.generate.plan import plan_night
    from nightshift.generate.sources import Sources

    night, settings = night_of(arguments), settings_of(arguments)
    lake = Lake.of(settings)
    inputs = stages.resolve_inputs(STAGES["plan"], lake, night, settings)
    document = plan_night(Sources.of(lake, settings, inputs)).document
    rows = show_estimate(document, lake, settings)
    result = {"stage": "plan", "dry_run": True, "night": night.key, "estimate": rows}
    result |= {name: document[name] for name in ("budget", "cut", "lacking")}
    emit(arguments, result | {"tuning": tuning_cost(settings)})
    return 0


def show_estimate(
    document: Mapping[str, Any], lake: Lake, settings: Settings
) -> dict[str, dict[str, Any]]:
    """Print the table of a plan; returns its rows."""
    rows = estimates(document, settings, paces(lake))
    for line in estimate_lines(rows, document, settings):
        print(line)
    return rows


def estimates(
    document: Mapping[str, Any], settings: Settings, known: Mapping[str, Pace]
) -> dict[str, dict[str, Any]]:
    """Each strategy's row of plan.json with GPU-hours and money, the seconds by late nights.

    Args:
        document: `plan.json`.
        known: what late nights of this lake took; where they do not say, the strategy does.
    """
    found = {}
    for name, row in document["estimate"].items():
        pace = known.get(name)
        one = estimate_of(row, settings, seconds_per_sample=pace.seconds if pace else None)
        found[name] = one | {"measured_shards": pace.shards if pace else 0}
    return found


def estimate_lines(
    rows: Mapping[str, Mapping[str, Any]], document: Mapping[str, Any], settings: Settings
) -> Iterator[str]:
    """The estimate as a table, the dearest first, with what was cut and who cannot work."""
    cut = {one["strategy"]: one for one in document["cut"]}
    whole = {name: sum(row[name] or 0 for row in rows.values()) for name in _SUMMED}
    whole["fit_seconds"] = sum(row["fit_seconds"] for row in rows.values())
    heads = ["strategy", "samples", "tokens in", "tokens out", "learning", "making", "known from"]
    heads += ["GPU-h"] if whole["gpu_hours"] else []
    heads += [settings.cost.currency] if is_priced(settings) else []

    def cells(row: Mapping[str, Any], source: str) -> list[str]:
        line = [count(row["samples"]), *(_some(row[name]) for name in ("prompt_tokens", "tokens"))]
        line += [duration(row["fit_seconds"]) if row["fit_seconds"] else NOTHING]
        line += [duration(row["seconds"]), source]
        line += [f"{row['gpu_hours']:.3f}"] if whole["gpu_hours"] else []
        return line + ([money(row["money"])] if is_priced(settings) else [])

    body = [
        [name, *cells(row, _source(row)), _cut(cut.get(name))]
        for name, row in sorted(rows.items(), key=lambda one: (-one[1]["seconds"], one[0]))
    ]
    body.append(["all", *cells(whole, ""), ""])
    yield from table([*heads, "cut"], body, left=frozenset({0, 6, len(heads)}))
    budget = settings.generate.budget
    limit = "" if budget.money is None else f", {money(budget.money)} {settings.cost.currency}"
    yield (
        f"budget: {count(budget.samples)} samples, {count(budget.tokens)} tokens, "
        f"{duration(budget.seconds)}{limit}"
    )
    tuning = tuning_cost(settings)
    if tuning is not None:
        yield _tuning(tuning, settings)
    for name, why in document["lacking"].items():
        yield f"{name} cannot work here: {why}"


def tuning_cost(settings: Settings) -> dict[str, Any] | None:
    """What the samples of a night that tunes cost at most on top: those of its inner night.

    None where there is nothing to tune. What the trials take is training, and no part of it.
    """
    names = tunable(settings)
    if not names:
        return None
    budget = inner_budget(settings)
    return {
        "strategies": names,
        "every_days": settings.tune.every_days,
        "tokens": budget.tokens if any(map(needs_model, names)) else 0,
        "seconds": budget.seconds,
        "money": budget.money,
    }


def _tuning(cost: Mapping[str, Any], settings: Settings) -> str:
    most = [f"{count(cost['tokens'])} tokens"] if cost["tokens"] else []
    most += [duration(cost["seconds"])]
    most += [] if cost["money"] is None else [f"{money(cost['money'])} {settings.cost.currency}"]
    return (
        f"a night that tunes (the first, then every {plural(cost['every_days'], 'day')}) makes the "
        f"samples of an inner night on top: at most {', '.join(most)}"
    )


def _some(number: float) -> str:
    return count(number) if number else NOTHING


def _source(row: Mapping[str, Any]) -> str:
    shards = row["measured_shards"]
    return f"{shards} shard{'s' * (shards != 1)}" if shards else "its own word"


def _cut(one: Mapping[str, Any] | None) -> str:
    return "" if one is None else f"by {one['why']}: wanted {count(one['wanted'])}"
