"""`nightshift load NAME …`: put a shop into the event store."""

from __future__ import annotations

import argparse
from typing import Any

from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.store import options

_COMMON = {"set", "json", "action", "command", "shop"}


def register(subparsers: Subparsers) -> None:
    load = subparsers.add_parser(
        "load",
        help="put a shop into the event store",
        description="Put a shop into the event store. Loading the same again changes nothing.",
    )
    shops = load.add_subparsers(dest="shop", metavar="SHOP", required=True)
    for name, (title, add_options) in options.LOADERS.items():
        add_options(add_command(shops, name, _load, help=title))


def _load(arguments: argparse.Namespace) -> int:
    from nightshift.store.loaders import load

    given: dict[str, Any] = {k: v for k, v in vars(arguments).items() if k not in _COMMON}
    emit(arguments, load(arguments.shop, settings_of(arguments), **given))
    return 0
