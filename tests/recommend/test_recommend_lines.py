"""Two lines over several nights: from the parent, through the night, across a gap."""

from __future__ import annotations

import pytest
import torch
from nights_by_hand import (
    DAY,
    NIGHT,
    Shop,
    later,
    night_events,
    pairs,
    past_events,
    wandering,
)
from small_models import assert_same_weights, weights

from nightshift.recommend.finetune import run as finetune
from nightshift.snapshot import Snapshot
from nightshift.stages import StageContext, parent_state, state_partition
from nightshift.writer import DatasetWriter
from shop_by_hand import samples

STEPS = {"first_steps": 30, "refresh_passes": 8, "warm_learning_rate": 5e-3}
SAMPLES = samples(
    *({"sample_id": f"x{i}", "item_id": "i19", "context_items": ["i00"]} for i in range(40))
)


@pytest.fixture
def shop(tmp_path):
    return Shop.at(tmp_path, finetune=STEPS)


@pytest.fixture
def past():
    return past_events(wandering(30))


def test_without_samples_control_and_challenger_are_bitwise_one_model(shop, past):
    inputs = shop.before(past)
    models = shop.finetune(inputs)
    assert_same_weights(*(shop.model(manifest) for manifest in models.values()))
    digests = [
        {f.name: f.sha256 for f in manifest.files if f.name != "README.md"}  # it names the arm
        for manifest in models.values()
    ]
    assert digests[0] == digests[1]


def test_a_first_night_is_the_same_in_another_lake_and_other_with_samples(shop, past, tmp_path):
    other = Shop.at(tmp_path / "other", finetune=STEPS)
    arms = {"control": samples(), "challenger": SAMPLES}
    here, there = (s.finetune(s.before(past, arms=arms)) for s in (shop, other))
    assert [m.digest for m in here.values()] == [m.digest for m in there.values()]
    control, challenger = (shop.model(manifest) for manifest in here.values())
    assert_same_weights(control, challenger)  # samples place items beside it
    assert not torch.equal(control.sample_deltas, challenger.sample_deltas)


def test_losses_and_steps_are_in_the_books(shop, past):
    inputs = shop.before(past)
    (model,) = shop.finetune(inputs, "control").values()
    losses = shop.lake.read_json(model, "losses.json")
    assert len(losses["train"]) == 10
    assert losses["train"][-1] == model.stats["loss"] < losses["train"][0]
    assert (model.stats["steps"], model.stats["steps_behind"]) == (30, 30)
    assert model.stats["parent"] is None


def test_refresh_learns_the_night_in_both_lines_and_files_the_state_under_its_end(shop, past):
    inputs = shop.before(past)
    models = shop.finetune(inputs)
    inside = night_events(pairs("i03", "i17", 40, name="v"))
    state = shop.refresh(inputs, models, inside)

    assert state.partition == state_partition(NIGHT.end) == state_partition(later(1).start)
    assert state.stats["live_line"] == "blend"
    assert state.stats["interval"] == f"{NIGHT.start.isoformat()}/{NIGHT.end.isoformat()}"
    assert state.stats["events"] == 80
    for arm, line in (("control", "real"), ("challenger", "blend")):
        old = shop.rank_of(inputs, models[f"arm:{arm}:0"], "i17", after="i03", prefix="")
        new = shop.rank_of(inputs, state, "i17", after="i03", prefix=f"{line}/")
        assert new <= 1 < old


def test_an_empty_night_hands_both_models_on_unchanged(shop, past):
    inputs = shop.before(past)
    models = shop.finetune(inputs)
    state = shop.refresh(inputs, models, night_events({}))
    for arm, line in (("control", "real"), ("challenger", "blend")):
        kept = shop.model(state, f"{line}/")
        assert_same_weights(shop.model(models[f"arm:{arm}:0"]), kept)
    assert state.stats["loss"] == {"real": None, "blend": None}


def test_withheld_items_are_not_learnt_from_the_night(shop, past):
    hidden = "i17"
    known = past.filter(past["item_id"] != hidden)
    inputs = shop.before(known, withheld=[hidden])
    models = shop.finetune(inputs)
    state = shop.refresh(inputs, models, night_events(pairs("i03", hidden, 20, name="v")))
    assert state.stats["events"] == 20
    for line in ("real", "blend"):
        assert not shop.model(state, f"{line}/").deltas[17].any()


@pytest.fixture
def second(shop, past):
    """A state after one night whose lines differ, and the inputs of the night after."""
    inputs = shop.before(past, arms={"control": samples(), "challenger": SAMPLES})
    state = shop.refresh(inputs, shop.finetune(inputs), night_events(wandering(10, seed=1)))
    night = later(1)
    arms = {name: samples() for name in ("control", "challenger", "random_pairs")}
    return night, shop.before(past, night=night, arms=arms) | {"parent": state}


@pytest.mark.parametrize(
    ("arm", "line"), [("control", "real"), ("challenger", "blend"), ("random_pairs", "blend")]
)
def test_an_arm_goes_on_from_its_own_line(shop, second, arm, line):
    night, inputs = second
    still = Shop(shop.settings.with_({"finetune": {"warm_steps": 0}}))
    (model,) = still.finetune(inputs, arm, night=night).values()
    assert_same_weights(shop.model(model), shop.model(inputs["parent"], f"{line}/"))
    assert model.stats["loss"] is None
    assert model.stats["parent"] == inputs["parent"].partition


def test_a_warm_night_takes_its_own_steps_only(shop, second):
    night, inputs = second
    (model,) = shop.finetune(inputs, "control", night=night).values()
    before = shop.model(inputs["parent"], "real/")
    assert model.stats["steps"] == 6
    assert model.stats["steps_behind"] == before.steps + 6
    assert "gap" not in shop.lake.read_json(model, "losses.json")
    assert not torch.equal(weights(before)["deltas"], shop.model(model).deltas)


def test_a_changed_model_section_is_said_and_the_line_keeps_its_own(shop, second, caplog):
    night, inputs = second
    wider = Shop(shop.settings.with_({"finetune": {"model": {"dim": 32, "max_length": 30}}}))
    (model,) = wider.finetune(inputs, "control", night=night).values()
    assert shop.model(model).model.settings.dim == 16
    assert "the line keeps its own" in caplog.text


def test_a_gap_is_learnt_on_the_way(shop, past):
    inputs = shop.before(past)
    state = shop.refresh(inputs, shop.finetune(inputs), night_events({}))
    night = later(4)  # three nights were skipped
    missed = pairs("i03", "i17", 40, name="v")
    inside = night_events(missed, later(2))
    late = Shop(shop.settings.with_({"finetune": {"warm_steps": 0}}))
    inputs = late.before(past.vstack(inside), night=night) | {"parent": state}
    (model,) = late.finetune(inputs, "control", night=night).values()
    assert len(late.lake.read_json(model, "losses.json")["gap"]) > 0
    old = late.rank_of(inputs, state, "i17", after="i03", prefix="real/")
    assert late.rank_of(inputs, model, "i17", after="i03", prefix="") <= 1 < old
    assert set(model.run["train_seconds"]) == {"gap", "train"}
    # 40 users with something new, 8 a step, 8 passes: nothing else was replayed.
    assert model.stats["steps_behind"] == shop.model(state, "real/").steps + 5 * 8


def test_only_what_came_after_the_state_is_new_in_a_gap(shop, past, monkeypatch):
    inputs = shop.before(past)
    state = shop.refresh(inputs, shop.finetune(inputs), night_events({}))
    night = later(3)
    users = {"u000": ["i01", "i02"], "u007": ["i03"], "zz": ["i04"]}
    seen = {}

    def look(stored, deltas, features, histories, new, ctx, *, seed, part, label):
        seen["new"] = new
        return []

    monkeypatch.setattr("nightshift.recommend.finetune.pass_over", look)
    inside = night_events(users, later(1))
    inputs = shop.before(past.vstack(inside), night=night, users=None) | {"parent": state}
    ctx = _context(shop, night, inputs)
    finetune(ctx)
    keys = Snapshot(shop.lake, inputs["snapshot"]).users["user_key"].to_list()
    found = {key: int(n) for key, n in zip(keys, seen["new"], strict=True) if n}
    assert found == {"u000": 2, "u007": 1, "zz": 1}


def _context(shop, night, inputs):
    scratch = shop.settings.home_path / "looked-at"
    scratch.mkdir(parents=True)
    writer = DatasetWriter(shop.lake, "arm/looked-at", scratch)
    return StageContext(
        night, shop.settings, shop.lake, {"arm": "control", "seed": "0"}, inputs, writer
    )


def test_the_newest_state_before_the_night_is_the_parent_when_gaps_are_learnt(shop, past):
    inputs = shop.before(past)
    state = shop.refresh(inputs, shop.finetune(inputs), night_events({}))
    settings = shop.settings.with_({"night": {"on_gap": "learn"}})
    assert parent_state(shop.lake, later(1), settings) == state
    assert parent_state(shop.lake, later(9), settings) == state
    assert parent_state(shop.lake, NIGHT, settings) is None
    assert later(9).start - NIGHT.end == 8 * DAY
