"""Real nights around a sweep: what it leaves is whole, and the next night goes on from it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from whole_nights import FIRST, SECOND, Shops, datasets

from nightshift.commands.standing import standings
from nightshift.housekeeping import housekeep
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.nights import run_night
from nightshift.registry import alias
from nightshift.registry.retract import retract
from nightshift.retractions import Rule
from nightshift.settings import Settings

DAY = timedelta(days=1)
THIRD = Night(SECOND.start + DAY, SECOND.end + DAY)
FOURTH = Night(THIRD.start + DAY, THIRD.end + DAY)
LATER = 10 * 86_400.0
"""Seconds: past the grace."""


def run(night: Night, settings: Settings) -> bool:
    """Run a night; returns whether there was anything to do."""
    return any(ran.worked for ran in run_night(night, settings, told=lambda ran: None))


@pytest.mark.slow
def test_nights_go_on_after_a_sweep_as_if_nothing_had_gone(shops: Shops) -> None:
    settings = shops.fresh()
    for night in (FIRST, SECOND, THIRD):
        assert run(night, settings)
    untouched = shops.like(settings)
    lake = Lake.of(settings)
    thrifty = settings.with_({"retention": {"days": 1, "rollback_states": 2, "inner_nights": 0}})
    size = sum(one.bytes for one in lake.stored(""))

    accounts = housekeep(thrifty, now=time.time() + LATER)

    assert size - sum(one.bytes for one in lake.stored("")) >= accounts.freed > size / 10
    assert {s.state for s in standings(lake, THIRD, settings).values()} == {"done"}
    assert not run(THIRD, settings)
    for manifest in datasets(settings, THIRD).values():
        assert lake.verify(manifest) == []
    assert lake.find("snapshot", f"night={FIRST.key}") is None
    assert lake.find("report", f"night={FIRST.key}") is not None

    for place in (settings, untouched):
        run(FOURTH, place)
    swept, whole = datasets(settings, FOURTH), datasets(untouched, FOURTH)
    # The report names what is still there of the nights before: it alone may differ.
    assert {k: m.digest for k, m in swept.items() if k != "report"} == {
        k: m.digest for k, m in whole.items() if k != "report"
    }

    assert retract(lake, Rule(strategy="text_neighbours"), reason="a test")["samples"] > 0
    assert lake.at_key("state", *alias.rollback(lake, reason="a test").state) is not None
