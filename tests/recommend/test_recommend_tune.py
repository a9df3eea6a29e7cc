"""Tuning: an inner night cut out of the past, and the recipe that is carried between tunings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from nights_by_hand import Shop, later, night_events, past_events, wandering
from sqlalchemy import text

from factories import commit
from nightshift import stages
from nightshift.errors import BadInput, EngineError
from nightshift.generate.strategies.text_neighbours import TextNeighbours
from nightshift.lake import Lake
from nightshift.night import INNER, Night
from nightshift.recommend import tune
from nightshift.recommend.choosing.candidates import inner_budget
from nightshift.recommend.choosing.validation import Validation
from nightshift.snapshot import Snapshot
from nightshift.stages import STAGES, StageContext
from nightshift.store.engine import begin
from shop_by_hand import NIGHT, event_rows

# --- cutting the inner night ------------------------------------------------------------------


def context(shop, past, **options):
    inputs = shop.before(past, **options)
    return StageContext(NIGHT, shop.settings, shop.lake, {}, inputs, None)


def inner_of(ctx):
    return tune.inner_night(Snapshot(ctx.lake, ctx.inputs["snapshot"]), ctx.night, ctx.settings)


def test_the_inner_night_is_the_newest_ninth_from_a_midnight_on(tmp_path):
    ctx = context(Shop.at(tmp_path), past_events({"u": ["i00", "i01"] * 108}, days=9))
    inner, _ = inner_of(ctx)
    # Of 216 hourly events, the first eight ninths end an hour before the last midnight.
    assert inner == Night(NIGHT.start - timedelta(days=2), NIGHT.start, inner=True)
    assert inner.key != Night(inner.start, inner.end).key


def test_a_history_of_one_day_is_cut_at_the_moment(tmp_path):
    past = past_events({"u": ["i00"] * 19}, days=1)
    inner, _ = inner_of(context(Shop.at(tmp_path), past))
    assert (inner.start, inner.end) == (NIGHT.start - timedelta(hours=8), NIGHT.start)


def test_inner_settings_withhold_a_tenth_on_top_and_make_tunable_samples_only(tmp_path):
    shop = Shop.at(tmp_path, collect={"withhold": [{"share": 0.2, "salt": 4}]})
    inner, settings = inner_of(context(shop, past_events(wandering(20))))
    found = [(entry.share, entry.salt) for entry in settings.collect.withhold]
    assert found[0] == (0.2, 4)
    assert [share for share, _ in found] == [0.2, 0.1]
    assert settings.generate.strategies == ("text_neighbours", "negatives")
    assert settings.night.first == inner.start
    assert settings.finetune == shop.settings.finetune


def test_an_inner_night_has_a_budget_of_its_own_beside_the_nights(tmp_path):
    budget = {"samples": 900, "tokens": 1001, "seconds": 80.0, "money": 0.5}
    shop = Shop.at(tmp_path, generate={"budget": budget}, tune={"budget_share": 0.25})

    _, settings = inner_of(context(shop, past_events(wandering(20))))

    # As many samples as a weight is chosen for; of what is paid for, the share.
    quarter = {"samples": 900, "tokens": 250, "seconds": 20.0, "money": 0.125}
    assert settings.generate.budget.model_dump() == quarter
    free = shop.settings.with_({"generate": {"budget": {"money": None}}})
    assert inner_budget(free).money is None


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_history_without_length_cannot_be_cut(tmp_path, times):
    at = NIGHT.start - timedelta(days=1)
    past = event_rows([("u", f"i{n:02}", "purchase", at, n) for n in range(times)])
    with pytest.raises(BadInput, match="too few events"):
        inner_of(context(Shop.at(tmp_path), past, users=["u"]))


# --- carrying the recipe ----------------------------------------------------------------------


class Tuned(Exception):
    """Stands for the work of a tuning."""


@pytest.fixture
def run_tune(tmp_path, monkeypatch):
    """`tune` of a night whose parent state was made with a recipe of `NIGHT`."""

    def tuned(inner, settings):
        raise Tuned(inner.key)

    monkeypatch.setattr(tune, "_prepare", tuned)
    shop = Shop.at(tmp_path, finetune={"first_steps": 2}, tune={"every_days": 7})
    recipe = {"gamma": 2.0, "beta": {"control": 5.0, "challenger": 5.0}, "strategies": {}}
    inputs = shop.before(past_events(wandering(20)), recipe=recipe)
    state = shop.refresh(inputs, shop.finetune(inputs), night_events({}))

    def run(days, parent=state):
        night = later(days)
        inputs = shop.before(past_events(wandering(20)), night=night)
        chosen = {"snapshot": inputs["snapshot"]} | ({"parent": parent} if parent else {})
        return shop, commit(shop.lake, shop.settings, night, STAGES["tune"], tune.run, chosen)

    run.recipe = inputs["recipe"]
    return run


@pytest.mark.parametrize("days", [1, 6])
def test_between_tunings_the_parents_recipe_goes_on_unchanged(run_tune, days):
    shop, manifest = run_tune(days)
    assert manifest.stats["tuned_as_of"] == NIGHT.start.isoformat()
    assert manifest.stats["recipe_id"] == run_tune.recipe.stats["recipe_id"]
    assert [f.path for f in manifest.files] == [f.path for f in run_tune.recipe.files]
    assert shop.lake.read_json(manifest, "recipe.json")["gamma"] == 2.0


@pytest.mark.parametrize("days", [7, 30])
def test_after_a_week_it_is_tuned_anew(run_tune, days):
    with pytest.raises(Tuned):
        run_tune(days)


def test_a_first_night_is_always_tuned(run_tune):
    with pytest.raises(Tuned):
        run_tune(1, parent=None)


# --- a real one -------------------------------------------------------------------------------

REAL_NIGHT = Night.parse("2017-11-20")


@pytest.fixture
def real_settings(small_shop):
    """Of a real store with its best-selling items, whose snapshot is there."""
    rare = "select item_id from nightshift.events group by item_id having count(*) < 25"
    with begin(small_shop) as connection:
        for table in ("items", "events"):
            connection.execute(text(f"delete from nightshift.{table} where item_id in ({rare})"))
    settings = small_shop.with_(
        {
            "night": {"first": REAL_NIGHT.start.isoformat()},
            "collect": {"withhold": [{"share": 0.1, "salt": 3}]},
            "generate": {"budget": {"samples": 600}},
            "finetune": {"model": {"dim": 16, "layers": 1}, "batch": 32, "negatives": 64},
            "tune": {
                "steps": 15,
                "weights": [0.3],
                "scopes": ["short"],
                "betas": [0.0, 10.0],
                "gammas": [0.0, 4.0],
            },
        }
    )
    stages.run("collect", REAL_NIGHT, settings)
    return settings


@pytest.fixture
def real(real_settings, monkeypatch):
    """Tuned; and what validation was asked on."""
    settings, asked = real_settings, {}
    of = Validation.of

    def look(snapshot, morning, settings, *, asked_at):
        asked["inner"], asked["events"] = snapshot, morning.collect()
        return of(snapshot, morning, settings, asked_at=asked_at)

    monkeypatch.setattr(Validation, "of", look)
    outer = Snapshot(Lake.of(settings), stages.run("collect", REAL_NIGHT, settings).manifest)
    return settings, outer, stages.run("tune", REAL_NIGHT, settings), asked


def test_a_recipe_is_chosen_on_an_inner_night_that_knows_nothing_of_the_real_one(real):
    settings, outer, ran, asked = real
    lake, inner = Lake.of(settings), asked["inner"]

    trials = lake.read_json(ran.manifest, "trials.json")
    night = Night.parse(trials["inner_night"].removesuffix(INNER))
    assert night.end == REAL_NIGHT.start
    times = asked["events"]["occurred_at"]
    assert night.start <= times.min() <= times.max() < night.end
    seen = inner.events().select(pl.col("occurred_at").max()).collect().item()
    assert seen < night.start
    share = (outer.histories.times < night.start.timestamp() * 1e6).mean()
    assert 0.8 < share < 8 / 9 + 0.01

    # A further tenth is withheld; what the real night withholds has no say at all.
    hidden = set(outer.items.filter("withheld")["item_id"])
    hidden_inside = set(inner.items.filter("withheld")["item_id"])
    assert hidden < hidden_inside
    judged = set(asked["events"]["item_id"])
    assert judged & hidden_inside
    assert not judged & hidden
    known = set(inner.events().select("item_id").unique().collect()["item_id"])
    assert not known & hidden_inside

    recipe = lake.read_json(ran.manifest, "recipe.json")
    assert recipe["recipe_id"] == ran.manifest.stats["recipe_id"]
    assert datetime.fromisoformat(recipe["tuned_as_of"]) == REAL_NIGHT.start.astimezone(UTC)
    assert recipe["beta"]["control"] == recipe["beta"]["challenger"] in (0.0, 10.0)
    assert recipe["gamma"] in (0.0, 4.0)
    assert recipe["lean"] in settings.tune.leans
    assert recipe["follow"] in settings.tune.follows
    assert recipe["strategies"]["llm_queries"] == {"weight": 1.0}
    assert set(recipe["strategies"]) == {"text_neighbours", "negatives", "llm_queries"}
    assert [trial["strategies"]["negatives"]["weight"] for trial in trials["trials"]] == [0.0, 1.0]
    assert all(np.isfinite(trial["cold"]["relative"]) for trial in trials["trials"])
    assert set(trials["control_by_beta"]) == {"0.0", "10.0"}
    allowed = [trial["strategies"] for trial in trials["trials"] if trial["allowed"]]
    tuned = {name: recipe["strategies"][name] for name in ("text_neighbours", "negatives")}
    assert tuned in allowed or all(not chosen["weight"] for chosen in tuned.values())

    again = stages.run("tune", REAL_NIGHT, settings)
    assert not again.worked
    forced = stages.run("tune", REAL_NIGHT, settings, force=True)
    assert forced.manifest.digest == ran.manifest.digest


def test_a_strategy_whose_engine_fails_costs_its_own_trials_and_not_the_night(
    real_settings, monkeypatch, caplog
):
    def fail(strategy, targets):
        raise EngineError("The engine died.", hint="run again")

    monkeypatch.setattr(TextNeighbours, "generate", fail)
    lake = Lake.of(real_settings)

    tuned = stages.run("tune", REAL_NIGHT, real_settings).manifest

    trials = lake.read_json(tuned, "trials.json")
    assert [row["tries"] for row in trials["trials"]] == [["negatives"]]
    assert list(trials["lost"]) == tuned.stats["lost"] == ["text_neighbours"]
    assert all(name.startswith("text_neighbours-") for name in trials["failed"])
    assert trials["failed"]
    assert trials["skipped"] is None
    recipe = lake.read_json(tuned, "recipe.json")
    assert recipe["strategies"]["text_neighbours"]["weight"] == 0
    assert "The engine died" in caplog.text
    assert "nothing of text_neighbours can be tried: " in caplog.text


def test_when_failures_leave_nothing_to_try_the_next_night_tries_again(real_settings, monkeypatch):
    def fail(strategy, targets):
        raise EngineError("The engine died.", hint="run again")

    monkeypatch.setattr(TextNeighbours, "generate", fail)
    lake = Lake.of(real_settings)
    alone = real_settings.with_({"generate": {"strategies": ["text_neighbours"]}})

    tuned = stages.run("tune", REAL_NIGHT, alone).manifest

    trials = lake.read_json(tuned, "trials.json")
    assert trials["skipped"] is not None
    assert trials["trials"] == []
    as_of = datetime.fromisoformat(tuned.stats["tuned_as_of"])
    assert (REAL_NIGHT.start - as_of).days == alone.tune.every_days
