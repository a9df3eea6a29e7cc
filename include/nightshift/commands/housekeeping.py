"""`nightshift housekeeping`: remove from the lake what is not needed any more."""

from __future__ import annotations

import argparse

from nightshift.commands.common import Subparsers, add_command, emit, settings_of

_DESCRIPTION = """\
Remove from the lake what no later night, rollback, retraction or reader needs.

  nightshift housekeeping --dry-run             what would go, and why; removes nothing
  nightshift housekeeping                       remove it
  nightshift housekeeping --set retention.days=90

What stays (`retention` in the settings):
  nights of the last 60 days in full, counted back from the newest night in the lake, not from
  today, and all that such a night reads from those before it;
  recipe, evaluation, verdict and report of every night, the registry, the vectors of texts;
  the last 10 states that were live, with their blends and recommendations;
  the last two adapters of the language model; its answers for a year;
  whatever was written, or worked on, within the last 72 hours.

What goes: older nights, datasets that were made anew since, folders that a killed run left without
a manifest, scratch, leases of work that is done; chunks of samples, what strategies have learnt and
converted models older than 60 days. A file that a kept dataset shares stays,
wherever it lies. A run that is killed leaves nothing broken: run it again.
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "housekeeping",
        _run,
        help="remove from the lake what is not needed any more",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--dry-run",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="show what would go, and remove nothing",
    )


def _run(arguments: argparse.Namespace) -> int:
    from nightshift.housekeeping import housekeep

    accounts = housekeep(settings_of(arguments), dry_run=arguments.dry_run)
    for line in accounts.lines():
        print(line)
    emit(arguments, accounts.to_json())
    return 0
