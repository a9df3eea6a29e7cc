"""`nightshift generate` without a shard: plan where it must, all shards, gather, and a table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from nightshift import stages
from nightshift.commands.common import emit, night_of, result_of, settings_of
from nightshift.commands.planning import show_estimate
from nightshift.errors import NightshiftError
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.nights import run_parts
from nightshift.report.costs import cost_figures, reasons_for_little, shard_costs
from nightshift.report.summary import table
from nightshift.report.words import NOTHING, bill, count, duration
from nightshift.settings import Settings
from nightshift.stages import Ran, strategy_of

_REASONS = 2
"""So many of the reasons why samples were dropped stand in the table."""


def generate_all(arguments: argparse.Namespace) -> int:
    """Make tonight's samples; the last line is JSON: the stages' results."""
    night, settings = night_of(arguments), settings_of(arguments)
    lake = Lake.of(settings)
    done: list[Ran] = []
    if arguments.strategies is not None:  # tonight's plan may be another's
        done.append(stages.run("plan", night, settings))
        show_estimate(lake.read_json(done[0].manifest, "plan.json"), lake, settings)
    errors: dict[str, NightshiftError] = {}
    parts = stages.parts_of("generate", lake, night, settings)
    done += run_parts(
        "generate",
        parts,
        night,
        settings,
        force=arguments.force,
        lost=lambda part, error: errors.update({part["shard"]: error}),
    )
    shards = [ran.manifest for ran in done if ran.stage == "generate"]
    gathered = stages.run("gather", night, settings)
    done.append(gathered)
    inspection = None
    if arguments.inspect:
        done.append(stages.run("inspect", night, settings))
        inspection = done[-1].manifest
    plan = lake.get_ref(gathered.manifest.inputs["plan"])
    print()
    for line in _table(lake, settings, plan, shards, gathered.manifest, inspection, errors):
        print(line)
    results = [result_of(ran, lake) for ran in done]
    emit(arguments, results)
    return 0


def _table(
    lake: Lake,
    settings: Settings,
    plan: Manifest,
    shards: list[Manifest],
    gathered: Manifest,
    inspection: Manifest | None,
    errors: Mapping[str, NightshiftError],
) -> Iterator[str]:
    """A row a strategy, and below it why one made little or nothing."""
    document = lake.read_json(plan, "plan.json")
    spent = shard_costs(shards)
    accepted: Mapping[str, int] = inspection.stats["accepted"] if inspection is not None else {}
    currency = settings.cost.currency
    rows, notes = [], [f"{n}: cannot work here: {why}" for n, why in document["lacking"].items()]
    for name, planned in plan.stats["samples"].items():
        cost = spent.get(name)
        good = accepted.get(name, 0)
        figures = cost_figures(cost, document["estimate"][name], good, settings)
        per_accepted = {
            field.removesuffix("_per_accepted"): value
            for field, value in figures.items()
            if field.endswith("_per_accepted")
        }
        rows.append(
            [
                name,
                count(planned),
                count(gathered.stats["made"].get(name, 0)),
                count(good) if inspection is not None else NOTHING,
                duration(figures["seconds"]),
                count(figures["tokens"]) if figures["tokens"] else NOTHING,
                ", ".join(bill(per_accepted, currency)) if good else NOTHING,
                _dropped(cost.dropped if cost else {}),
            ]
        )
        notes += [
            f"{name}: {why}"
            for why in reasons_for_little(
                name,
                spent=cost,
                lost=gathered.stats["lost"],
                cut=document["cut"],
                planned=planned,
            )
        ]
        notes += [
            f"{name}: shard {shard} failed: {error.message}"
            for shard, error in errors.items()
            if strategy_of(shard) == name
        ]
    heads = ["strategy", "planned", "made", "accepted", "took", "tokens", "per accepted", "dropped"]
    yield from table(heads, rows, left=frozenset({0, 7}))
    if gathered.stats["skipped"]:
        yield f"No sample is used: {gathered.stats['skipped']}"
    yield from notes


def _dropped(reasons: Mapping[str, int]) -> str:
    most = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    said = [f"{name.replace('_', ' ')} {count(number)}" for name, number in most[:_REASONS]]
    rest = sum(number for _, number in most[_REASONS:])
    return ", ".join([*said, f"other {count(rest)}"] if rest else said)
