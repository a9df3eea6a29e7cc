"""`nightshift settings`: every key, its value, its meaning."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pydantic import BaseModel

from nightshift.commands.common import Subparsers, add_command, emit, settings_of


def register(subparsers: Subparsers) -> None:
    add_command(subparsers, "settings", _show, help="every setting: value and meaning")


def _show(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    for path, value, meaning in walk(settings):
        print(f"{path} = {value}" + (f"    # {meaning}" if meaning else ""))
    if arguments.json:
        emit(arguments, settings.model_dump(mode="json"))
    return 0


def walk(tree: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """(dotted path, value, description) of every leaf; secrets stay masked."""
    for name, field in type(tree).model_fields.items():
        value = getattr(tree, name)
        if isinstance(value, BaseModel):
            yield from walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""
