"""Licences of the lock: everything permissive, or a named exception with its reason."""

from __future__ import annotations

import tomllib
from email.message import Message

import licences
import pytest

RULES = tomllib.loads(licences.RULES.read_text())
ALLOWED = frozenset(RULES["allowed"])


def test_every_package_of_the_lock_may_be_shipped() -> None:
    found = licences.rows()

    assert len(found) > 200
    assert [row for row in found if row.problem] == []


def test_every_exception_is_for_a_package_that_is_there_and_has_a_reason() -> None:
    used = {licences.canonical(row.name) for row in licences.rows() if row.reason}

    assert used == set(RULES["exceptions"])
    assert all(len(reason.split()) >= 4 for _, reason in RULES["exceptions"].values())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("GPL-3.0-only WITH GCC-exception-3.1", False),
        ("BUSL-1.1", False),
        ("", False),
    ],
)
def test_an_expression_is_read(expression: str, expected: bool) -> None:
    assert licences.permits(expression, ALLOWED) is expected


def metadata_of(*lines: tuple[str, str]) -> Message:
    found = Message()
    for name, value in lines:
        found[name] = value
    return found


def test_the_expression_comes_before_classifiers_and_those_before_free_text() -> None:
    free = ("License", "BSD\nand its whole text")
    kind = ("Classifier", "License :: OSI Approved :: MIT License")
    umbrella = ("Classifier", "License :: OSI Approved")
    expression = ("License-Expression", "ISC")

    assert licences.licence_of(metadata_of(free, umbrella)) == ("BSD",)
    assert licences.licence_of(metadata_of(free, kind)) == ("MIT License",)
    assert licences.licence_of(metadata_of(free, kind, expression)) == ("ISC",)
    assert licences.licence_of(metadata_of()) == ()


@pytest.mark.parametrize("said", [(), ("Business Source License 1.1",), ("MIT License", "AGPL")])
def test_what_is_unknown_or_not_permissive_is_refused(said: tuple[str, ...]) -> None:
    assert licences.judge("something", said, RULES).problem


def test_an_exception_ends_when_the_licence_changes() -> None:
    known, _ = RULES["exceptions"]["psycopg2-binary"]

    assert not licences.judge("psycopg2_binary", (known,), RULES).problem
    assert licences.judge("psycopg2-binary", ("AGPL-3.0-only",), RULES).problem
