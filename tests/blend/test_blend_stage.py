"""The stage `blend`: tonight's samples, those carried over, those that expire; the arms."""

from __future__ import annotations

from datetime import timedelta

import pytest

from factories import commit
from nightshift import contracts
from nightshift.blend.stage import run as blend
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry.retract import retract
from nightshift.retractions import Rule
from nightshift.stages import STAGES
from shop_by_hand import (
    NIGHT,
    as_table,
    events,
    samples,
    schema_of,
    settings_for,
    write_blend,
    write_recipe,
    write_snapshot,
)

ALL = {"strategies": {"text_neighbours": {"weight": 0.3, "scope": "all"}}}
ITEMS = ["busy", "cold", "tail"]
PAST = {f"u{n}": ["busy", "tail"] if n < 5 else ["busy"] for n in range(8)}  # 8, 0, 5 events
DAY = timedelta(days=1)


def day(number):
    return Night(NIGHT.start + number * DAY, NIGHT.end + number * DAY)


class Kitchen:
    """Blends a night from what inspection accepted and the blend before."""

    def __init__(self, folder, **tree):
        self.settings = settings_for(folder, **tree)
        self.lake = Lake.of(self.settings)

    def blend(self, accepted, *, carried=None, recipe=ALL, night=NIGHT, past=PAST):
        before = events(past, NIGHT.start - timedelta(days=3))

        def inspected(ctx):
            ctx.writer.write_parquet("accepted.parquet", as_table(accepted, contracts.SAMPLES))
            return {}

        lake, settings = self.lake, self.settings
        inputs = {
            "snapshot": write_snapshot(lake, settings, before, ITEMS, night=night),
            "recipe": write_recipe(lake, settings, recipe, night=night),
            "inspection": commit(lake, settings, night, STAGES["inspect"], inspected),
        }
        if carried is not None:
            arms = {"control": samples(), "challenger": carried}
            inputs["previous"] = write_blend(lake, settings, arms, night=day(-1))
        return commit(lake, settings, night, STAGES["blend"], blend, inputs)

    def arm(self, manifest, name):
        return self.lake.read(manifest, f"{name}.parquet")

    def challenger(self, accepted, **options):
        return self.arm(self.blend(accepted, **options), "challenger")


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen(tmp_path)


def ids(frame):
    return frame["sample_id"].to_list()


def test_the_challenger_gets_what_the_recipe_weighs_and_the_control_nothing(kitchen):
    accepted = samples(
        {"sample_id": "b", "item_id": "cold"},
        {"sample_id": "a", "item_id": "busy"},
        {"sample_id": "c", "item_id": "busy", "strategy": "llm_queries"},
    )
    manifest = kitchen.blend(accepted)
    challenger = kitchen.arm(manifest, "challenger")
    assert ids(challenger) == ["a", "b"]
    assert challenger["weight"].to_list() == pytest.approx([0.3, 0.3])
    assert challenger.schema == schema_of(contracts.SAMPLES)
    assert kitchen.arm(manifest, "control").is_empty()
    assert manifest.stats["arms"] == ["control", "challenger"]
    assert manifest.stats["rows"] == {"control": 0, "challenger": 2}
    assert manifest.stats["unused"] == 1


def test_a_scope_leaves_out_the_items_that_have_enough(kitchen):
    accepted = samples(*({"sample_id": item, "item_id": item} for item in ITEMS))
    for scope, kept in (("cold", ["cold"]), ("short", ["cold", "tail"])):
        recipe = {"strategies": {"text_neighbours": {"weight": 0.1, "scope": scope}}}
        assert ids(kitchen.challenger(accepted, recipe=recipe)) == kept


def test_with_weight_zero_both_arms_are_empty(kitchen):
    recipe = {"strategies": {"text_neighbours": {"weight": 0.0, "scope": "all"}}}
    carried = samples({"sample_id": "old", "night": day(-1).key})
    manifest = kitchen.blend(samples({"sample_id": "a"}), carried=carried, recipe=recipe)
    assert manifest.stats["rows"] == {"control": 0, "challenger": 0}


def test_what_was_carried_is_weighed_anew_by_tonights_recipe(kitchen):
    old = {"item_id": "cold", "weight": 0.9, "night": day(-1).key}
    carried = samples(
        old | {"sample_id": "old"},
        old | {"sample_id": "old and light", "scores": '{"weight":0.5}'},
        old | {"sample_id": "off", "strategy": "negatives"},
    )
    found = kitchen.challenger(samples({"sample_id": "new", "item_id": "cold"}), carried=carried)
    assert ids(found) == ["new", "old", "old and light"]
    assert found["weight"].to_list() == pytest.approx([0.3, 0.3, 0.15])


def test_a_sample_lives_for_its_time_and_not_a_night_longer(tmp_path):
    kitchen = Kitchen(tmp_path, blend={"ttl_days": 3})
    carried = samples(
        *({"sample_id": f"{age}", "item_id": "cold", "night": day(-age).key} for age in range(1, 6))
    )
    manifest = kitchen.blend(samples(), carried=carried)
    assert ids(kitchen.arm(manifest, "challenger")) == ["1", "2"]  # its third night is tonight
    assert manifest.stats["carried"] == 2
    assert manifest.stats["expired"] == 3


def test_nights_of_any_length_have_an_age(tmp_path):
    kitchen = Kitchen(tmp_path, blend={"ttl_days": 3})
    start = NIGHT.start
    keys = [
        Night(start - 2 * DAY, start - timedelta(hours=5)).key,
        Night(start - 9 * DAY, start - 5 * DAY).key,
    ]
    carried = samples(
        *({"sample_id": f"{n}", "item_id": "cold", "night": key} for n, key in enumerate(keys))
    )
    assert ids(kitchen.challenger(samples(), carried=carried)) == ["0"]


def test_a_sample_expires_when_its_item_leaves_the_scope_or_the_shop(kitchen):
    made = {"night": day(-1).key}
    carried = samples(
        made | {"sample_id": "busy now", "item_id": "busy"},
        made | {"sample_id": "still tail", "item_id": "tail"},
        made | {"sample_id": "still cold", "item_id": "cold"},
        made | {"sample_id": "gone", "item_id": "no longer sold"},
    )
    kept = {"all": ["busy now", "still cold", "still tail"], "short": ["still cold", "still tail"]}
    for scope, expected in kept.items():
        recipe = {"strategies": {"text_neighbours": {"weight": 0.3, "scope": scope}}}
        assert ids(kitchen.challenger(samples(), carried=carried, recipe=recipe)) == expected


def test_what_is_about_a_customer_has_no_item_to_lose_and_expires_by_its_age(tmp_path):
    kitchen = Kitchen(tmp_path, blend={"ttl_days": 3})
    about = {"kind": "profile", "strategy": "llm_profiles", "item_id": None, "text": "likes tea"}
    carried = samples(
        about | {"sample_id": "young", "night": day(-2).key},
        about | {"sample_id": "old", "night": day(-3).key},
    )
    recipe = {"strategies": {"llm_profiles": {"weight": 0.25}}}
    found = kitchen.challenger(samples(), carried=carried, recipe=recipe)
    assert ids(found) == ["young"]
    assert found["weight"].to_list() == [0.25]


def test_the_same_sample_made_again_tonight_counts_once_and_is_young_again(tmp_path):
    kitchen = Kitchen(tmp_path, blend={"ttl_days": 3})
    twin = {"sample_id": "twin", "item_id": "cold"}
    found = kitchen.challenger(
        samples(twin | {"night": NIGHT.key}), carried=samples(twin | {"night": day(-2).key})
    )
    assert found.select("sample_id", "night").rows() == [("twin", NIGHT.key)]


def test_placebos_stand_in_for_interactions_and_sequences_alone(tmp_path):
    kitchen = Kitchen(tmp_path, blend={"placebos": ["random_pairs", "upsample"]})
    names = ("text_neighbours", "negatives", "llm_queries", "copula")
    every = {"strategies": {name: {"weight": 1.0} for name in names}}
    accepted = samples(
        *({"sample_id": f"a{n}", "item_id": ITEMS[n % 3]} for n in range(7)),
        {"sample_id": "n", "kind": "negative", "strategy": "negatives", "user_key": "u0"},
        {"sample_id": "q", "kind": "query", "strategy": "llm_queries", "text": "a thing"},
        {"sample_id": "s", "kind": "sequence", "strategy": "copula", "context_items": ITEMS[:1]},
    )
    manifest = kitchen.blend(accepted, recipe=every)
    rows = {"control": 0, "challenger": 10, "random_pairs": 8, "upsample": 8}
    assert manifest.stats["rows"] == rows
    assert set(manifest.seeds) == {"random_pairs", "upsample"}
    for name in ("random_pairs", "upsample"):
        found = kitchen.arm(manifest, name)["kind"].value_counts()
        assert dict(found.iter_rows()) == {"interaction": 7, "sequence": 1}


def test_what_is_retracted_is_blended_no_more(kitchen):
    carried = samples(
        {"sample_id": "bad", "item_id": "cold", "lineage": '{"model":"m"}', "night": day(-1).key},
        {"sample_id": "good", "item_id": "cold", "night": day(-1).key},
    )
    kitchen.blend(samples(), carried=carried)
    retract(kitchen.lake, Rule(model="m"), reason="it made things up")
    manifest = kitchen.blend(samples(), carried=carried)
    assert ids(kitchen.arm(manifest, "challenger")) == ["good"]
    assert manifest.stats["retracted"] == 1


def test_the_order_in_which_shards_came_does_not_matter(kitchen, tmp_path):
    rows = samples(*({"sample_id": f"s{n}", "item_id": "cold"} for n in range(20)))
    other = Kitchen(tmp_path / "other")
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=2)
    one, two = kitchen.challenger(rows), other.challenger(shuffled)
    assert one.equals(two)
