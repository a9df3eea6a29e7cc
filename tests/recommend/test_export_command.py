"""`nightshift export model`: what is live, as its night ranked with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from nights_by_hand import ITEMS, Shop, later, night_events, past_events, wandering

from nightshift import cli
from nightshift.recommend import loading
from nightshift.recommend.exports import exported
from nightshift.registry.alias import move_alias
from nightshift.snapshot import Snapshot, read_vectors
from shop_by_hand import NIGHT, TINY

RECIPE = {"beta": {"control": 0.0, "challenger": 7.0}, "gamma": 2.0, "strategies": {}}
PAST = wandering(20)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    tiny = TINY | {"first_steps": 4, "refresh_passes": 1}
    return Shop.at(tmp_path, finetune=tiny)


def make_live(shop, night=NIGHT, line="blend"):
    """A night whose state goes live; its inputs and the state."""
    inputs = shop.before(past_events(PAST), night=night, recipe=RECIPE)
    models = shop.finetune(inputs, night=night)
    inside = night_events({"u003": ["i05"]}, night)
    state = shop.refresh(inputs, models, inside, night=night, live_line=line)
    move_alias(shop.lake, state, line, night)
    return inputs | {"state": state}


def command(tmp_path, *more, to="float32", out="export"):
    return cli.main(["export", "model", "--to", to, "--out", str(tmp_path / out), *more])


def test_it_ranks_as_the_live_lines_state_with_the_nights_recipe(shop, tmp_path, capsys):
    of = make_live(shop)
    assert command(tmp_path) == 0
    snapshot = Snapshot(shop.lake, of["snapshot"])
    champion = loading.load(
        shop.lake,
        of["state"],
        item_ids=snapshot.items["item_id"].to_list(),
        vectors=read_vectors(shop.lake, of["vectors"]),
        beta=7.0,
        gamma=2.0,
        prefix="blend/",
    )
    found = exported.load(tmp_path / "export", item_ids=ITEMS)
    how = {"candidates": None, "exclude_seen": False}
    ours, theirs = (one.top_k(snapshot.histories, 5, **how) for one in (champion, found))
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["source"]["digest"] == of["state"].digest
    assert (said["source"]["line"], said["source"]["night"]) == ("blend", NIGHT.key)
    assert said["bytes"] == sum(one["bytes"] for one in said["files"].values())


def test_an_earlier_state_is_named_by_night_or_number(shop, tmp_path):
    first = make_live(shop, line="real")["state"]
    make_live(shop, later(1))
    for number, name in enumerate((NIGHT.key, "1")):
        out = f"export{number}"
        assert command(tmp_path, "--state", name, out=out, to="int8") == 0
        source = exported.load(tmp_path / out).config["source"]
        assert (source["line"], source["digest"]) == ("real", first.digest)


def test_before_the_first_night_and_for_a_night_that_never_was_the_way_out_is_said(
    shop, tmp_path, capsys
):
    assert command(tmp_path) == 2
    assert "run a night" in capsys.readouterr().err
    make_live(shop)
    assert command(tmp_path, "--state", "2001-01-01") == 2
    assert "nightshift champion" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()
