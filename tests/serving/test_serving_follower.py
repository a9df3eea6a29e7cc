"""The server follows the alias, and keeps what is live when the next one does not load."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest
from served_nights import until

from nightshift.errors import LakeError
from nightshift.registry.alias import pin, rollback
from nightshift.serving import follower
from nightshift.serving.follower import Follower


def live_night(client) -> str:
    return client.get("/health").json()["model"]["night"]


def test_a_model_that_comes_later_is_found(served, answering):
    with answering(served.settings, wait=False) as client:
        assert client.get("/health").status_code == 503
        alias = served.make_live(0)
        until(lambda: client.get("/health").status_code == 200)
        assert live_night(client) == alias.night


def test_it_goes_forward_and_back_with_the_alias(served, answering):
    first = served.make_live(0)
    with answering(served.settings) as client:
        answers = {first.night: client.post("/recommend", json={"history": ["i03"]}).json()}
        second = served.make_live(1)
        until(lambda: live_night(client) == second.night)
        answers[second.night] = client.post("/recommend", json={"history": ["i03"]}).json()
        assert answers[second.night]["model"]["line"] == "blend"
        assert answers[second.night]["items"] != answers[first.night]["items"]
        rollback(served.lake, reason="to see")
        until(lambda: live_night(client) == first.night)
        again = client.post("/recommend", json={"history": ["i03"]}).json()
        assert again == answers[first.night]


def test_a_pin_on_what_is_live_loads_nothing(served, monkeypatch):
    served.make_live(0)
    following = Follower(served.lake, served.settings)
    asyncio.run(following.look())
    held = following.current
    assert held is not None
    pin(served.lake, reason="a feast day")
    asyncio.run(following.look())
    assert following.current is held


def test_requests_end_with_the_champion_they_began_with(served):
    """The one before stays whole while anybody holds it."""
    served.make_live(0)
    following = Follower(served.lake, served.settings)
    asyncio.run(following.look())
    held = following.current
    row = held.history_of_user("u003")
    before = held.top_k(row, 5, exclude_seen=False)
    served.make_live(1)
    asyncio.run(following.look())
    assert following.current is not held
    after = held.top_k(row, 5, exclude_seen=False)
    assert (before[0] == after[0]).all()


def damaged(served, number):
    path = served.weights(number)
    body = bytearray(path.read_bytes())
    body[-8:] = b"\xff" * 8
    path.write_bytes(body)


def removed(served, number):
    served.weights(number).unlink()


def without_manifest(served, number):
    (served.lake.local_path(served.state(number).files[0]).parents[1] / "_manifest.json").unlink()


def not_finite(served, number):
    """Weights that are what the manifest says, and no model."""
    from dataclasses import replace

    from safetensors.numpy import load_file, save_file

    from nightshift.manifest import content_digest

    state = served.state(number)
    path = served.weights(number)
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("model."))
    tensors[name] = tensors[name] * float("nan")
    scratch = path.with_suffix(".new")
    save_file(tensors, scratch)
    old = next(f for f in state.files if served.lake.local_path(f) == path)
    new = replace(served.lake.put_file(scratch, state.folder, old.name), meta=old.meta)
    files = tuple(new if entry is old else entry for entry in state.files)
    digest = content_digest(state.key, files, state.stats, state.seeds)
    served.lake.commit(replace(state, files=files, digest=digest))


@pytest.mark.parametrize("spoil", [damaged, removed, without_manifest, not_finite])
def test_a_state_that_does_not_load_leaves_the_old_one_live(served, answering, caplog, spoil):
    first = served.make_live(0)
    second = served.make_live(1) if spoil is without_manifest else None
    if second is None:
        spoil(served, 1)
        with answering(served.settings) as client:
            second = served.make_live(1)
            _stays(client, first, second, caplog)
            third = served.make_live(2)
            until(lambda: live_night(client) == third.night)  # the next sound one is taken
            assert client.get("/health").json()["rejected"] == 1
    else:
        spoil(served, 1)
        with answering(served.settings, wait=False) as client:
            until(lambda: client.get("/health").json()["rejected"] == 1)
            assert client.get("/health").status_code == 503
            rollback(served.lake, reason="the new state is gone", to=first.number)
            until(lambda: client.get("/health").status_code == 200)
            assert live_night(client) == first.night


def _stays(client, first, second, caplog) -> None:
    until(lambda: client.get("/health").json()["rejected"] == 1)
    answer = client.post("/recommend", json={"history": ["i03"]})
    assert answer.status_code == 200
    assert answer.json()["model"]["night"] == first.night
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert any(second.night in line and "what was live stays" in line for line in told)


def test_a_state_that_failed_is_tried_again_in_growing_pauses(served, monkeypatch):
    served.make_live(0)
    following = Follower(served.lake, served.settings.with_({"serve": {"poll_seconds": 1.0}}))
    clock, tries = [0.0], []
    monkeypatch.setattr(follower.time, "monotonic", lambda: clock[0])
    load = follower.load

    def failing(*given):
        tries.append(clock[0])
        if clock[0] < 10:
            raise LakeError("The network is down.")
        return load(*given)

    monkeypatch.setattr(follower, "load", failing)
    for second in range(20):
        clock[0] = float(second)
        asyncio.run(following.look())
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert following.rejected == 1
    assert following.current is not None


@pytest.mark.parametrize("error", [LakeError("gone"), OSError("gone"), KeyError("night")])
def test_an_alias_that_cannot_be_read_stops_nothing(served, monkeypatch, error):
    served.make_live(0)
    following = Follower(served.lake, served.settings)
    asyncio.run(following.look())
    held = following.current

    def fail(lake):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(follower, "live", fail)
        asyncio.run(following.look())
    assert following.current is held
    served.make_live(1)
    asyncio.run(following.look())
    assert following.current is not held


def test_a_champion_is_loaded_beside_what_is_answered(served, answering, monkeypatch):
    """A slow load holds no request up, and is in a thread of its own."""
    first = served.make_live(0)
    go, started, names = threading.Event(), threading.Event(), []
    load = follower.load

    def slow(*given):
        if given[2].night != first.night:
            names.append(threading.current_thread().name)
            started.set()
            assert go.wait(30)
        return load(*given)

    monkeypatch.setattr(follower, "load", slow)
    with answering(served.settings) as client:
        second = served.make_live(1)
        assert started.wait(30)
        for _ in range(3):
            answer = client.post("/recommend", json={"history": ["i03"]})
            assert answer.json()["model"]["night"] == first.night
        go.set()
        until(lambda: live_night(client) == second.night)
    assert not any(name.startswith("rank") for name in names)


def test_a_recipe_without_what_ranking_needs_is_rejected(served, caplog):
    alias = served.make_live(1)
    state = served.state(1)
    recipe = served.lake.get_ref(state.inputs["recipe"])
    path = served.lake.local_path(recipe.file("recipe.json"))
    body = json.loads(path.read_text())
    del body["gamma"]
    path.write_text(json.dumps(body))
    following = Follower(served.lake, served.settings)
    asyncio.run(following.look())
    assert following.current is None
    assert following.rejected == 1
    assert alias.night in caplog.text
