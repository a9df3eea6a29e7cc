"""One suite per kind of sample. A kind without one is quarantined whole, by name."""

from __future__ import annotations

from nightshift.inspection.rules import Suite
from nightshift.inspection.suites import common, interaction, negative, query

SUITES: dict[str, Suite] = {
    suite.kind: suite for suite in (interaction.SUITE, negative.SUITE, query.SUITE)
}


def suite_of(kind: str | None) -> Suite:
    """The suite of a kind; for any other, the common rules, which say so."""
    return SUITES.get(kind or "", common.SUITE)
