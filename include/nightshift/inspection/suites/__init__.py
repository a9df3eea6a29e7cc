"""One suite per kind of sample. A kind without one is quarantined whole, by name."""

from __future__ import annotations

from importlib import import_module

from nightshift.inspection.rules import Suite
from nightshift.inspection.suites import common

SUITES: dict[str, Suite] = {
    kind: import_module(f"{__name__}.{kind}").SUITE for kind in common.INSPECTED
}


def suite_of(kind: str | None) -> Suite:
    """The suite of a kind; for any other, the common rules, which say so."""
    return SUITES.get(kind or "", common.SUITE)
