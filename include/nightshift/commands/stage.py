"""`nightshift STAGE --night …`: what a pod runs and what a person runs."""

from __future__ import annotations

import argparse
import json

from nightshift import stages
from nightshift.commands.common import (
    Subparsers,
    add_command,
    add_night,
    emit,
    night_of,
    result_of,
    settings_of,
)
from nightshift.lake import Lake
from nightshift.last_word import leave
from nightshift.nights import run_parts

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
        for part in stage.parts:
            parser.add_argument(f"--{part}", help=_PART_HELP[part])


def _run(arguments: argparse.Namespace) -> int:
    night, settings = night_of(arguments), settings_of(arguments)
    lake = Lake.of(settings)
    stage = stages.STAGES[arguments.action]
    given = {part: getattr(arguments, part) for part in stage.parts}
    if stage.parts and not all(given.values()):
        wanted = [
            parts
            for parts in stages.parts_of(stage.name, lake, night, settings)
            if all(value is None or parts[name] == value for name, value in given.items())
        ]
    else:
        wanted = [given]
    if stage.name == "generate" and not given["shard"]:
        ran = run_parts(stage.name, wanted, night, settings, force=arguments.force)
    else:
        ran = (stages.run(stage.name, night, settings, p, force=arguments.force) for p in wanted)
    results = [result_of(done, lake) for done in ran]
    if stage.name == "generate" and not given["shard"]:
        results.append(result_of(stages.run("gather", night, settings), lake))
    emit(arguments, results[0] if len(results) == 1 else results)
    if len(results) == 1:
        leave(settings.compute.termination_log, json.dumps(results[0], ensure_ascii=False))
    return 0
