"""`nightshift STAGE --night …`: what a pod runs and what a person runs."""

from __future__ import annotations

import argparse
import json

from nightshift import stages
from nightshift.commands.common import (
    Subparsers,
    add_command,
    add_night,
    add_strategies,
    emit,
    night_of,
    result_of,
    settings_of,
)
from nightshift.lake import Lake
from nightshift.last_word import leave

_PART_HELP = {
    "shard": "which shard of tonight's plan (text_neighbours-000); without it: all, then gather",
    "arm": "control, challenger or a placebo; without it: every arm of tonight's blend",
    "seed": "which seed; without it: every seed of finetune.seeds",
}


def register(subparsers: Subparsers) -> None:
    for stage in stages.STAGES.values():
        parser = add_command(subparsers, stage.name, _run, help=stage.title)
        add_night(parser)
        parser.add_argument(
            "--force", action="store_true", help="make the dataset anew although it is there"
        )
        if stage.name in ("plan", "generate"):
            add_strategies(parser)
        if stage.name == "plan":
            parser.add_argument(
                "--dry-run", action="store_true", help="show the estimate, write nothing"
            )
        if stage.name == "generate":
            parser.add_argument(
                "--inspect",
                action="store_true",
                help="inspect them, too (not with --shard)",
            )
        for part in stage.parts:
            parser.add_argument(f"--{part}", help=_PART_HELP[part])


def _run(arguments: argparse.Namespace) -> int:
    name = arguments.action
    if name == "plan" and arguments.dry_run:
        from nightshift.commands.planning import try_plan

        return try_plan(arguments)
    if name == "generate" and not arguments.shard:
        from nightshift.commands.generating import generate_all

        return generate_all(arguments)
    night, settings = night_of(arguments), settings_of(arguments)
    lake = Lake.of(settings)
    stage = stages.STAGES[name]
    given = {part: getattr(arguments, part) for part in stage.parts}
    wanted = [given]
    if stage.parts and not all(given.values()):
        wanted = [
            parts
            for parts in stages.parts_of(name, lake, night, settings)
            if all(value is None or parts[part] == value for part, value in given.items())
        ]
    results = [
        result_of(stages.run(name, night, settings, parts, force=arguments.force), lake)
        for parts in wanted
    ]
    if name == "plan":
        from nightshift.commands.planning import show_estimate

        plan = lake.get("plan", stage.partition(night, {}))
        show_estimate(lake.read_json(plan, "plan.json"), lake, settings)
    emit(arguments, results[0] if len(results) == 1 else results)
    if len(results) == 1:
        leave(settings.compute.termination_log, json.dumps(results[0], ensure_ascii=False))
    return 0
