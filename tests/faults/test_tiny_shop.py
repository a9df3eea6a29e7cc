"""Shops that have hardly anything: a night ends, or says in one line why it cannot."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from test_odd_shop import NIGHT, SMALL

from nightshift.errors import BadInput
from nightshift.lake import Lake
from nightshift.nights import run_night
from nightshift.settings import Settings
from nightshift.store.loaders import load

BEFORE, INSIDE = NIGHT.start - timedelta(days=20), NIGHT.start + timedelta(hours=3)


def shop(settings: Settings, folder: Path, items: list[str], events: list[str]) -> Settings:
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]))
    (folder / "events.csv").write_text("\n".join(["user_id,item_id,kind,occurred_at", *events]))
    load("files", settings, items=folder / "items.csv", events=folder / "events.csv")
    return settings.with_(SMALL)


def bought(user: str, item: str, hours: float, *, since=BEFORE) -> str:
    return f"{user},{item},purchase,{(since + timedelta(hours=hours)).isoformat()}"


def many(*inside: str) -> list[str]:
    """Ten users with eight items of thirty each, and the night's events."""
    return [bought(f"u{u}", str((u + i) % 30), i) for u in range(10) for i in range(8)] + [*inside]


ITEMS = [f"{i},lamp {i}" for i in range(30)]
IN_THE_NIGHT = bought("u1", "20", 0, since=INSIDE), bought("u2", "21", 1, since=INSIDE)


@pytest.mark.parametrize(
    ("items", "events"),
    [
        (["a,lamp"], [bought("u", "a", hour) for hour in range(5)]),
        (["a,lamp", "b,chair"], [bought(u, i, h) for u in "uv" for i in "ab" for h in (1, 2)]),
        (ITEMS, [event.replace("purchase", "view") for event in many(*IN_THE_NIGHT)]),
    ],
    ids=["one user, one item", "two users, two items", "views only"],
)
def test_too_little_to_learn_from_is_said(
    items: list[str], events: list[str], settings: Settings, tmp_path: Path
):
    made = shop(settings, tmp_path, items, events)

    with pytest.raises(BadInput, match="too few events") as caught:
        run_night(NIGHT, made, told=lambda ran: None)

    assert caught.value.hint
    assert Lake.of(made).find("recipe", f"night={NIGHT.key}") is None


@pytest.mark.parametrize(
    ("items", "events", "decision"),
    [
        ([f"{i}," for i in range(30)], many(*IN_THE_NIGHT), "control"),
        ([f"{i},lamp" for i in range(30)], many(*IN_THE_NIGHT), "control"),
        (ITEMS, many(bought("new", "7", 0, since=INSIDE)), "too_few_users"),
        (ITEMS, many(bought("u1", "7", 0, since=INSIDE)), "empty"),
        (ITEMS, many(), "empty"),
    ],
    ids=["no titles", "one title", "only a new user", "only a repeat", "nothing in the night"],
)
def test_a_night_of_hardly_anything_ends_and_says_what_it_judged(
    items: list[str], events: list[str], decision: str, settings: Settings, tmp_path: Path
):
    made = shop(settings, tmp_path, items, events)

    done = {ran.stage: ran.manifest for ran in run_night(NIGHT, made, told=lambda ran: None)}

    verdict = Lake.of(made).read_json(done["promote"], "verdict.json")
    assert verdict["decision"] == decision
    assert verdict["reasons"]
    assert done["score"].stats["users"] >= 10
