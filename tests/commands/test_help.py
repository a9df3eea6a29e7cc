"""Every command and option says what it is for, and the reference is what the help says."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.cli import parser
from nightshift.commands.reference import commands, reference

ROOT = Path(__file__).parents[2]
FOUND = list(commands(parser(), "nightshift"))
HEAVY = ("torch", "polars", "pyarrow", "pandas", "transformers", "great_expectations", "airflow")


@pytest.mark.parametrize(("name", "help_", "found"), FOUND, ids=[name for name, _, _ in FOUND])
def test_every_command_and_option_has_help(
    name: str, help_: str, found: argparse.ArgumentParser
) -> None:
    assert help_, f"{name} has no help"
    assert found.description, f"{name} has no description"
    silent = [
        action.option_strings or action.dest
        for action in found._actions
        if not isinstance(action, argparse._SubParsersAction) and not action.help
    ]
    assert not silent, f"{name}: options without help: {silent}"


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "cli.md").read_text()

    assert written == reference(), "run `python -m nightshift.commands.reference > docs/cli.md`"


def test_every_command_is_in_the_reference() -> None:
    page = reference()

    assert all(f"## {name}\n" in page for name, _, _ in FOUND)


def test_help_answers_without_anything_heavy() -> None:
    code = (
        "import sys, nightshift.cli as cli; cli.parser().format_help();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
