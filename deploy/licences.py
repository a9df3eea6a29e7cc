"""Every package of requirements.lock with its licence, against the list in deploy/licences.toml.

    python deploy/licences.py [--all]      1 when one is unknown or not allowed

A licence is what the installed package's metadata says: License-Expression, else the classifiers,
else the License field's first line.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from lock_for import LOCK, canonical, pins

RULES = Path(__file__).with_name("licences.toml")
_UMBRELLAS = {"OSI Approved", "DFSG approved"}


@dataclass(frozen=True, slots=True)
class Row:
    """One package: what it says, and what is wrong with that (or why it may stay)."""

    name: str
    licence: str
    problem: str = ""
    reason: str = ""


def licence_of(meta: PackageMetadata) -> tuple[str, ...]:
    """The alternatives that the metadata names: one expression, or a licence a classifier."""
    fields: Any = meta
    if expression := fields.get("License-Expression"):
        return (str(expression),)
    kinds = [
        line.rpartition(" :: ")[2]
        for line in fields.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    if named := tuple(sorted(kind for kind in kinds if kind not in _UMBRELLAS)):
        return named
    text = str(fields.get("License") or "").strip()
    return (text.splitlines()[0],) if text else ()


def permits(expression: str, allowed: frozenset[str]) -> bool:
    """An SPDX expression without parentheses: one alternative is allowed with all its parts."""
    return any(
        all(part.strip() in allowed for part in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )


def judge(name: str, said: Sequence[str], rules: Mapping[str, Any]) -> Row:
    """One package against the rules. Several classifiers are alternatives only by exception."""
    licence = " | ".join(said) or "unknown"
    if canonical(name) in rules["exceptions"]:
        known, reason = rules["exceptions"][canonical(name)]
        problem = "" if licence == known else f"the exception was made for {known}"
        return Row(name, licence, problem, reason)
    allowed = frozenset(rules["allowed"])
    if said and all(permits(rules["names"].get(one, one), allowed) for one in said):
        return Row(name, licence)
    return Row(name, licence, "not in the list of allowed licences")


def rows() -> list[Row]:
    """Every package of the lock, in its order."""
    rules = tomllib.loads(RULES.read_text())
    found = []
    for name in pins(LOCK.read_text()):
        try:
            said = licence_of(metadata(name))
        except PackageNotFoundError:
            found.append(Row(name, "unknown", "not installed: install requirements.lock first"))
            continue
        found.append(judge(name, said, rules))
    return found


def main(argv: Sequence[str]) -> int:
    """Print what is wrong, or with --all every package."""
    found = rows()
    for row in found:
        if row.problem or "--all" in argv:
            print(
                "  ".join(part for part in (row.name, row.licence, row.problem, row.reason) if part)
            )
    wrong = sum(bool(row.problem) for row in found)
    exceptions = sum(bool(row.reason) for row in found)
    print(f"{len(found)} packages, {exceptions} by exception, {wrong} not allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
