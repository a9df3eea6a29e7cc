"""The live alias: forward in time only, one winner of a race, and a way back."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta

import pytest

from factories import commit
from nightshift.errors import DatasetMissing, UsageError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry import alias
from nightshift.registry.alias import history, live, move_alias, rollback
from nightshift.settings import Settings
from nightshift.stages import STAGES

FIRST = Night.parse("2017-11-20")


def night(number):
    return Night(FIRST.start + timedelta(days=number), FIRST.end + timedelta(days=number))


@pytest.fixture
def settings(tmp_path):
    return Settings.load({"home": str(tmp_path)})


@pytest.fixture
def lake(settings):
    return Lake.of(settings)


@pytest.fixture
def state(lake, settings):
    def make(number, version=0):
        run = lambda ctx: {"live_line": "real", "version": version}  # noqa: E731
        return commit(
            lake, settings, night(number), STAGES["refresh"], run, parts={"v": str(version)}
        )

    return make


def test_nothing_is_live_at_first(lake):
    assert live(lake) is None
    with pytest.raises(UsageError, match="Nothing is live"):
        rollback(lake, reason="why not")


def test_nights_in_order_move_it_forward(lake, state):
    for number in range(3):
        move = move_alias(lake, state(number), "real", night(number))
        assert move.moved
        assert move.alias == live(lake)
    assert [entry.night for entry in history(lake)] == ["2017-11-20", "2017-11-21", "2017-11-22"]


def test_a_backfill_of_the_past_never_moves_it_back(lake, state):
    move_alias(lake, state(5), "real", night(5))
    move = move_alias(lake, state(2), "blend", night(2))
    assert not move.moved
    assert "later night" in move.why
    assert live(lake).night == "2017-11-25"


def test_the_same_state_again_changes_nothing(lake, state):
    made = state(0)
    move_alias(lake, made, "real", night(0))
    assert not move_alias(lake, made, "real", night(0)).moved
    assert len(history(lake)) == 1


def test_the_same_night_with_another_result_moves_it(lake, state):
    move_alias(lake, state(0), "real", night(0))
    assert move_alias(lake, state(0, version=1), "real", night(0)).moved
    assert move_alias(lake, state(0, version=1), "blend", night(0)).moved


def test_a_rollback_is_respected_until_a_newer_night(lake, state):
    for number in range(3):
        move_alias(lake, state(number), "real", night(number))

    entry = rollback(lake, reason="complaints")

    assert (entry.night, entry.kind, entry.reason) == ("2017-11-21", "rollback", "complaints")
    again = move_alias(lake, state(2), "real", night(2))
    assert not again.moved
    assert "complaints" in again.why
    assert not move_alias(lake, state(2, version=1), "real", night(2)).moved
    assert live(lake).night == "2017-11-21"
    assert move_alias(lake, state(3), "real", night(3)).moved


def test_a_rollback_to_a_night_or_an_entry(lake, state):
    for number in range(3):
        move_alias(lake, state(number), "real", night(number))
    assert rollback(lake, to="2017-11-20", reason="r").night == "2017-11-20"
    assert rollback(lake, to=3, reason="r").night == "2017-11-22"
    assert rollback(lake, to="2", reason="r").night == "2017-11-21"
    with pytest.raises(UsageError, match="entry 99"):
        rollback(lake, to=99, reason="r")
    with pytest.raises(UsageError, match="reason"):
        rollback(lake, to=1, reason=" ")


def test_a_rollback_twice_goes_between_two_states_and_loses_no_entry(lake, state):
    for number in range(2):
        move_alias(lake, state(number), "real", night(number))
    assert rollback(lake, reason="r").night == "2017-11-20"
    assert rollback(lake, reason="r").night == "2017-11-21"
    assert len(history(lake)) == 4


def test_a_state_that_is_gone_cannot_be_rolled_back_to(lake, state):
    gone = state(0)
    for number in range(2):
        move_alias(lake, state(number), "real", night(number))
    lake.delete(f"{gone.folder}/_manifest.json")
    with pytest.raises(DatasetMissing, match="2017-11-20"):
        rollback(lake, reason="r")


def test_one_that_comes_second_decides_anew(lake, state, monkeypatch):
    """Between reading the alias and creating its next number, a later night gets in."""
    move_alias(lake, state(0), "real", night(0))
    create, raced = alias._create, []

    def slow_create(lake_, wanted):
        if not raced:
            raced.append(True)
            assert move_alias(lake, state(9), "real", night(9)).moved
        return create(lake_, wanted)

    monkeypatch.setattr(alias, "_create", slow_create)
    move = move_alias(lake, state(1), "real", night(1))

    assert not move.moved
    assert live(lake).night == night(9).key


def _race(root, number, barrier):
    settings = Settings.load({"home": root})
    lake = Lake.of(settings)
    state = lake.get("state", STAGES["refresh"].partition(night(number), {}))
    barrier.wait()
    move_alias(lake, state, "real", night(number))


def test_processes_that_race_leave_the_latest_night_and_no_gap(lake, state, tmp_path):
    count = 6
    for number in range(count):
        state(number)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    workers = [
        context.Process(target=_race, args=(str(tmp_path), number, barrier))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0] * count
    entries = history(lake)
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    nights = [entry.night for entry in entries]
    assert nights == sorted(nights)
    assert nights[-1] == night(count - 1).key
