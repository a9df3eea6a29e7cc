"""What the subcommands share: options, settings from options, output."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import Night, parse_time
from nightshift.settings import Settings
from nightshift.stages import Ran

_SET_HINT = "write --set finetune.first_steps=500; `nightshift settings` lists every path"

Subparsers = Any  # argparse keeps the type of its subparsers action private
Command = Callable[[argparse.Namespace], int]


def add_command(
    subparsers: Subparsers, name: str, command: Command, *, help: str, description: str = ""
) -> argparse.ArgumentParser:
    """A subcommand with the options that all have."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=description or help[:1].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override one setting, such as generate.budget.samples=1000 (JSON or plain text)",
    )
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the result as JSON here")
    parser.set_defaults(command=command)
    return parser


def add_night(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--night",
        metavar="NIGHT",
        required=True,
        help="a date (2017-11-20), or start/end (2017-11-20/2017-11-27); UTC",
    )
    parser.add_argument(
        "--first",
        action="store_true",
        help="this is the first night: learn from the history, not from an earlier state",
    )


def add_strategies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strategies",
        metavar="NAMES",
        help="ways of making samples, apart by commas, or all: in place of generate.strategies",
    )


def strategies_of(text: str) -> list[str]:
    """The names behind `--strategies`.

    Raises:
        UsageError: one of them is no strategy.
    """
    from nightshift.generate.strategies import strategy_names
    from nightshift.settings.generate import ALL

    names = [name for part in text.split(",") if (name := part.strip())]
    known = strategy_names()
    unknown = [name for name in names if name not in (*known, ALL)]
    if unknown or not names:
        raise UsageError(
            f"There is no strategy {', '.join(map(repr, unknown)) or 'without a name'}.",
            hint=f"--strategies takes {ALL}, or {', '.join(known)}",
        )
    return names


def night_of(arguments: argparse.Namespace) -> Night:
    return Night.parse(arguments.night)


def settings_of(
    arguments: argparse.Namespace, *, base: Settings | None = None, **changes: Any
) -> Settings:
    """`base` (the settings of the process), with the options and `changes` on top."""
    tree: dict[str, Any] = {}
    for assignment in arguments.set:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {path!r} has no '='.", hint=_SET_HINT)
        _put(tree, path.strip().split("."), _value(text))
    if getattr(arguments, "first", False):
        _put(tree, ["night", "first"], night_of(arguments).start.isoformat())
    if getattr(arguments, "strategies", None) is not None:
        _put(tree, ["generate", "strategies"], strategies_of(arguments.strategies))
    for path, value in changes.items():
        _put(tree, path.split("__"), value)
    base = base or Settings.load()
    return base.with_(tree) if tree else base


def time_option(text: str) -> Any:
    return parse_time(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    whole = ".".join(path)
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {whole}: {name} is set to a value already.", hint=_SET_HINT)
    if not all(path):
        raise UsageError(f"--set {whole!r} names no setting.", hint=_SET_HINT)
    tree[path[-1]] = value


def result_of(ran: Ran, lake: Lake) -> dict[str, Any]:
    """What a stage prints as its last line and what XCom carries: places and counts."""
    manifest = ran.manifest
    return {
        "stage": ran.stage,
        "worked": ran.worked,
        "seconds": round(ran.seconds, 2),
        "dataset": manifest.dataset,
        "partition": manifest.partition,
        "uri": lake.uri(manifest.folder),
        "digest": manifest.digest,
        "rows": manifest.rows,
    }


def emit(arguments: argparse.Namespace, value: Any) -> None:
    """One line of JSON on stdout, and the file of `--json`."""
    print(json.dumps(value, default=str, ensure_ascii=False))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(value, indent=1, default=str, ensure_ascii=False))
    sys.stdout.flush()
