"""The command line's reference, from its own help: `python -m nightshift.commands.reference`.

The page in docs/ is this module's output; a test compares the two.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from nightshift.cli import parser

Command = tuple[str, str, argparse.ArgumentParser]
WIDTH = "100"  # argparse wraps its usage at the terminal's width: fixed, so that the page is too
_HEAD = """\
# Command line

Every stage is one command, and one command is one task: what Airflow runs, a person can run.
Results go to stdout (with `--json`, or as the last line), progress to stderr. The exit code says
what went wrong; see `nightshift.errors`.

Written by `python -m nightshift.commands.reference > docs/cli.md`.
"""


def commands(top: argparse.ArgumentParser, name: str) -> Iterator[Command]:
    """(full name, one-line help, parser) of every command, those inside others too."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for sub, found in action.choices.items():
                yield f"{name} {sub}", helps.get(sub, ""), found
                yield from commands(found, f"{name} {sub}")


def reference() -> str:
    """The whole page, Markdown."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        return "\n".join(_lines())
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _lines() -> Iterator[str]:
    found = list(commands(parser(), "nightshift"))
    yield _HEAD
    yield "| command | |"
    yield "|---|---|"
    for name, help_, _ in found:
        anchor = name.replace(" ", "-")
        yield f"| [`{name}`](#{anchor}) | {help_} |"
    for name, _, one in found:
        yield f"\n## {name}\n\n```\n{one.format_help().strip()}\n```"
    yield ""


if __name__ == "__main__":
    print(reference(), end="")
