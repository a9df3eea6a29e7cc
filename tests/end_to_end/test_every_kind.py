"""Two nights in which every kind of sample is made, weighed, used, carried on and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from made_up_strategies import strategies
from safetensors.numpy import load_file
from whole_nights import FIRST, SECOND, Shops, datasets

from nightshift import contracts
from nightshift.generate import strategies as registry
from nightshift.inspection.samples import read_samples
from nightshift.lake import Lake
from nightshift.nights import run_night
from nightshift.recommend import tune
from nightshift.recommend.choosing.recipe import choose
from nightshift.registry.retract import retract
from nightshift.retractions import Rule
from nightshift.settings import Settings
from nightshift.store.ad_copy import read

MADE = strategies()
TUNED = ("text_neighbours", "negatives", *(name for name in MADE if name != "made_up_ad_copy"))
QUICK = {"steps": 20, "sequence_weights": [0.3], "text_weights": [0.25], "profile_weights": [0.5]}


def accept_all(ctx: Any) -> dict[str, Any]:
    """Inspection is tested elsewhere, kind by kind."""
    made = read_samples(ctx.lake, ctx.inputs["samples"])
    table = made.select(contracts.SAMPLES.names).to_arrow(compat_level=None)
    ctx.writer.write_parquet("accepted.parquet", table.cast(contracts.SAMPLES))
    ctx.writer.write_parquet("quarantined.parquet", contracts.QUARANTINE.empty_table())
    ctx.writer.write_json("summary.json", {"batches": []})
    counts = dict(made["strategy"].value_counts().iter_rows())
    return {"accepted": counts, "quarantined": {}, "reasons": {}, "stopped": []}


def take_everything(control: Any, trials: Any, settings: Any, combine: Any) -> Any:
    """The rows of the real choice; taken is the first trial of each group, together."""
    beta, _, _, rows = choose(control, trials, settings, combine)
    first = list({trial.group: trial for trial in reversed(trials)}.values())
    return beta, combine(first), "everything at once", rows


@pytest.fixture(scope="module")
def done(shops: Shops) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        real = registry.strategy_class
        patch.setattr(registry, "strategy_class", lambda name: MADE.get(name) or real(name))
        patch.setattr("nightshift.inspection.stage.run", accept_all)
        patch.setattr(tune, "choose", take_everything)
        names = ["text_neighbours", "negatives", *MADE]
        settings = shops.fresh().with_({"generate": {"strategies": names}, "tune": QUICK})
        settings = settings.with_({"tune": {"betas": [5.0]}})
        for night in (FIRST, SECOND):
            run_night(night, settings, told=lambda ran: None)
        yield settings


def test_every_kind_that_ranks_items_was_tried_and_named(done: Settings):
    lake, tuned = Lake.of(done), datasets(done, FIRST)["tune"]
    tried = lake.read_json(tuned, "trials.json")["trials"]
    alone = [row["tries"][0] for row in tried if len(row["tries"]) == 1]
    assert set(alone) == set(TUNED)
    for row in tried:
        for place in ("overall", "warm", "cold"):
            assert row[place]["low"] <= row[place]["relative"] <= row[place]["high"]
    recipe = lake.read_json(tuned, "recipe.json")
    assert recipe["kinds"] == {
        "text_neighbours": "interaction",
        "negatives": "negative",
        **{name: name.removeprefix("made_up_") for name in MADE},
    }
    assert recipe["strategies"]["made_up_sequence"] == {"weight": 0.3}
    assert recipe["strategies"]["made_up_ad_copy"] == {"weight": 1.0}  # nothing to choose
    inner = lake.read_json(tuned, "trials.json")["inner_night"]
    made_inside = lake.get("samples", f"night={inner}").stats["made"]
    assert set(made_inside) == set(TUNED)  # nobody pays for what is not tried


@pytest.mark.parametrize("night", [FIRST, SECOND], ids=str)
def test_every_kind_reached_what_uses_it(done: Settings, night):
    lake, found = Lake.of(done), datasets(done, night)
    blend = lake.read(found["blend"], "challenger.parquet")
    assert set(blend["kind"]) >= {"interaction", "sequence", "review", "profile", "ad_copy"}
    control, challenger = (found[f"finetune/{arm}/0"] for arm in ("control", "challenger"))
    assert challenger.stats["steps"] == control.stats["steps"]
    names = {
        arm: {entry.name for entry in found[f"finetune/{arm}/0"].files}
        for arm in ("control", "challenger")
    }
    assert names["challenger"] - names["control"] == {"profiles.safetensors"}
    assert "blend/profiles.safetensors" in {entry.name for entry in found["refresh"].files}
    tensors = load_file(lake.local_path(found["refresh"].file("blend/model.safetensors")))
    assert len(tensors["texts"]) >= 50
    real = load_file(lake.local_path(found["refresh"].file("real/model.safetensors")))
    assert "texts" not in real
    judged = lake.read_json(found["evaluate"], "results.json")
    assert {row["arm"] for row in judged} >= {"control", "challenger"}
    card = lake.local_path(found["promote"].file("model_card.md")).read_text()
    assert "`made_up_sequence` (sequence, weight 0.3)" in card


def test_the_last_nights_copy_is_live(done: Settings):
    lake = Lake.of(done)
    blend = lake.read(datasets(done, SECOND)["blend"], "challenger.parquet")
    expected = blend.filter(pl.col("kind") == "ad_copy")["sample_id"].sort().to_list()
    assert len(expected) >= 50
    assert read(done)["sample_id"].sort().to_list() == expected


def test_what_is_retracted_is_in_no_next_model(done: Settings, shops: Shops):
    changed = shops.like(done).with_(done.model_dump(include={"generate", "tune"}))
    lake = Lake.of(changed)
    for name in MADE:
        retract(lake, Rule(strategy=name), reason="a test", settings=changed)
    assert read(changed).is_empty()
    run_night(SECOND, changed, told=lambda ran: None)
    found = datasets(changed, SECOND)
    assert not set(lake.read(found["blend"], "challenger.parquet")["strategy"]) & set(MADE)
    assert not found["refresh"].named("blend/profiles")
    assert not found["finetune/challenger/0"].named("profiles")
