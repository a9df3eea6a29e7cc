"""The whole stage on a shop whose arms are planted: what it says must be what was planted."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
import torch
from planted import (
    NIGHT,
    WITHHELD,
    Planted,
    evaluate,
    inputs_for,
    item_id,
    many_users,
    plant_models,
    row,
    settings_for,
    targets_by_time,
)

from factories import commit
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.stages import STAGES

BEFORE, INSIDE = many_users(60)
TARGETS = targets_by_time(BEFORE, INSIDE)


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path)


@pytest.fixture
def lake(settings):
    return Lake.of(settings)


def results(lake, manifest, name="results.json"):
    return lake.read_json(manifest, name)


def test_a_planted_perfect_challenger_wins_with_an_interval_above_zero(lake, settings, monkeypatch):
    rankers = {"control": Planted(TARGETS, 0.3), "challenger": Planted(TARGETS, 1.0)}
    loads = plant_models(monkeypatch, rankers)

    done = evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE))

    rows = results(lake, done)
    assert loads == [("control", 0.2), ("challenger", 0.3)]
    assert row(rows, "challenger", "overall", "ndcg@10")["value"] == pytest.approx(1)
    lift = row(rows, "challenger", "overall", "ndcg@10", "control")
    assert 0 < lift["ci95"][0] < lift["relative"] < lift["ci95"][1]
    assert lift["value_ci95"][0] < lift["value"] < lift["value_ci95"][1]
    assert lift["n"] == done.stats["users"] == 60
    assert done.stats["empty"] is False


def test_the_perfect_arm_finds_the_withheld_items_in_the_cold_slice(lake, settings, monkeypatch):
    blind = Planted(TARGETS, 1.0, never=WITHHELD)
    plant_models(monkeypatch, {"control": blind, "challenger": Planted(TARGETS, 1.0)})

    rows = results(lake, evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE)))

    assert row(rows, "challenger", "cold", "recall@10")["value"] == pytest.approx(1)
    assert row(rows, "control", "cold", "recall@10")["value"] < 0.9
    assert row(rows, "challenger", "overall", "ndcg@10", "control")["value"] == 0


def test_torch_is_bound_to_the_threads_of_the_settings(lake, settings, monkeypatch):
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(3)
    torch.use_deterministic_algorithms(False)
    try:
        evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE))
        assert torch.get_num_threads() == settings.compute.threads == 1
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(exact)


def test_every_user_of_the_night_is_judged_in_long_form(lake, settings, monkeypatch):
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    inside = {**INSIDE, "stranger": [0, 1]}

    done = evaluate(lake, settings, inputs_for(lake, settings, BEFORE, inside))

    frame = lake.read(done, "user_metrics.parquet")
    assert frame["value"].is_between(0, 1).all()
    assert frame.select("arm", "seed", "user_key", "slice", "metric").is_duplicated().sum() == 0
    assert frame.filter(slice="new_users")["user_key"].unique().to_list() == ["stranger"]
    assert set(done.stats["arms"]) == {
        "control",
        "challenger",
        "popularity_7d",
        "item_knn",
        "text_knn",
        "personal_frequency",
    }
    assert row(results(lake, done), "item_knn", "new_users", "recall@10")["value"] == 1.0


def test_slices_of_a_user_average_to_the_whole(lake, settings, monkeypatch):
    """Recall over few targets is a mean over targets, so warm, tail and natural cold add up."""
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    done = evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE))
    frame = lake.read(done, "user_metrics.parquet").filter(arm="control", metric="recall@10")
    wide = frame.pivot(on="slice", index="user_key", values="value")

    both = wide.drop_nulls(["repeat", "new", "overall"])
    low = pl.min_horizontal("repeat", "new")
    high = pl.max_horizontal("repeat", "new")
    assert both.height > 10
    assert both.select((pl.col("overall") >= low - 1e-9).all()).item()
    assert both.select((pl.col("overall") <= high + 1e-9).all()).item()
    alone = wide.filter(pl.col("repeat").is_null() & pl.col("overall").is_not_null())
    assert (alone["overall"] == alone["new"]).all()


def test_identical_arms_differ_by_nothing(lake, settings, monkeypatch):
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    rows = results(lake, evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE)))
    lift = row(rows, "challenger", "overall", "ndcg@10", "control")
    assert (lift["value"], lift["ci95"], lift["value_ci95"]) == (0, [0, 0], [0, 0])


def test_seeds_are_averaged_per_user_and_shown_each(tmp_path, monkeypatch):
    settings = settings_for(tmp_path).with_({"finetune": {"seeds": [0, 1]}})
    lake = Lake.of(settings)
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})

    rows = results(lake, evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE)))

    by_seed = [
        r for r in rows if (r["arm"], r["slice"], r["metric"]) == ("control", "overall", "ndcg@10")
    ]
    assert {r["seed"] for r in by_seed if r["against"] is None} == {None, 0, 1}
    assert row(rows, "challenger", "overall", "ndcg@10", "control")["n"] == 60


def test_placebos_stand_beside_both(lake, settings, monkeypatch):
    names = ("control", "challenger", "upsample")
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in names})
    inputs = inputs_for(lake, settings, BEFORE, INSIDE, arms=names)
    rows = results(lake, evaluate(lake, settings, inputs))
    pairs = {(r["arm"], r["against"]) for r in rows if r["against"] and ":" not in r["metric"]}
    assert pairs == {
        ("challenger", "control"),
        ("upsample", "control"),
        ("challenger", "upsample"),
        ("control", "popularity_7d"),
        ("control", "item_knn"),
        ("control", "text_knn"),
        ("control", "personal_frequency"),
    }


def test_too_few_users_have_values_and_no_interval(tmp_path, monkeypatch):
    settings = settings_for(tmp_path, min_users=1000)
    lake = Lake.of(settings)
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    done = evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE))
    lift = row(results(lake, done), "challenger", "overall", "ndcg@10", "control")
    assert lift["ci95"] is None
    assert lift["value"] is not None
    assert done.stats["enough_users"] is False


def test_an_empty_night_is_empty(lake, settings, monkeypatch):
    loads = plant_models(monkeypatch, {})
    done = evaluate(lake, settings, inputs_for(lake, settings, BEFORE, {}))
    assert done.stats["empty"] is True
    assert results(lake, done) == []
    assert results(lake, done, "pooled.json") == []
    assert lake.read(done, "user_metrics.parquet").height == 0
    assert loads == []  # no model is loaded for nothing


def test_where_nothing_repeats_no_list_holds_what_a_user_had(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    inputs = inputs_for(lake, settings, BEFORE, INSIDE, repeats=False)
    done = evaluate(lake, settings, inputs)
    frame = lake.read(done, "user_metrics.parquet")
    assert "repeat" not in frame["slice"].unique()
    assert "personal_frequency" not in done.stats["arms"]


def night_after(night: Night, days: int) -> Night:
    return Night(night.start + timedelta(days=days), night.end + timedelta(days=days))


def run_nights(lake, settings, monkeypatch, recipes, share=0.8):
    """Nights in a row, each pooled with those before it."""
    done = []
    for number, recipe in enumerate(recipes):
        night = night_after(NIGHT, number)
        _, inside = many_users(60, seed=number)
        targets = targets_by_time(BEFORE, inside, night)
        plant_models(
            monkeypatch,
            {
                "control": Planted(targets, 0.4, seed=number),
                "challenger": Planted(targets, share, seed=number),
            },
        )
        inputs = inputs_for(lake, settings, BEFORE, inside, night=night, recipe_id=recipe)
        if done:
            inputs["previous"] = done[-1]
        done.append(evaluate(lake, settings, inputs, night))
    return done


def test_nights_of_one_recipe_are_pooled_by_user(lake, settings, monkeypatch):
    nights = run_nights(lake, settings, monkeypatch, ["a", "a", "a"])

    alone, pooled = (results(lake, nights[2], n) for n in ("results.json", "pooled.json"))
    one = row(alone, "challenger", "overall", "ndcg@10", "control")
    all_ = row(pooled, "challenger", "overall", "ndcg@10", "control")

    assert [night.stats["pooled_nights"] for night in nights] == [1, 2, 3]
    assert all_["n"] == 60  # the same users each night: three nights, resampled as 60 people
    assert all_["ci95"][1] - all_["ci95"][0] < one["ci95"][1] - one["ci95"][0]
    each = [
        row(results(lake, night), "challenger", "overall", "ndcg@10", "control")["value"]
        for night in nights
    ]
    assert all_["value"] == pytest.approx(sum(each) / 3)
    coverage = [row(results(lake, n), "control", "overall", "coverage@10")["value"] for n in nights]
    found = row(pooled, "control", "overall", "coverage@10")
    assert found["value"] == pytest.approx(sum(coverage) / 3)


def test_a_changed_recipe_starts_afresh(lake, settings, monkeypatch):
    nights = run_nights(lake, settings, monkeypatch, ["a", "a", "b", "b"])
    assert [night.stats["pooled_nights"] for night in nights] == [1, 2, 1, 2]


def test_no_more_nights_than_asked_for_are_pooled(tmp_path, monkeypatch):
    settings = settings_for(tmp_path, pool_nights=2)
    nights = run_nights(Lake.of(settings), settings, monkeypatch, ["a"] * 4)
    assert [night.stats["pooled_nights"] for night in nights] == [1, 2, 2, 2]


def state_of(lake, settings, inputs, line, night=NIGHT):
    """A parent state that is served with the recipe it was made with."""
    return commit(
        lake,
        settings,
        Night(night.start - timedelta(days=1), night.start),
        STAGES["refresh"],
        lambda ctx: {"planted": "state", "live_line": line},
        {"recipe": inputs["recipe"], "arm:control:0": inputs["arm:control:0"]}
        | {"arm:challenger:0": inputs["arm:challenger:0"]},
    )


@pytest.mark.parametrize(
    ("line", "beta", "before"), [("real", 0.2, "control"), ("blend", 0.3, "challenger")]
)
def test_the_champion_is_the_parents_live_line(lake, settings, monkeypatch, line, beta, before):
    inputs = inputs_for(lake, settings, BEFORE, INSIDE)
    rankers = {
        "control": Planted(TARGETS, 0.5),
        "challenger": Planted(TARGETS, 0.5),
        f"{line}/state": Planted(TARGETS, 1.0),
    }
    loads = plant_models(monkeypatch, rankers)
    inputs["parent"] = state_of(lake, settings, inputs, line)

    rows = results(lake, evaluate(lake, settings, inputs))

    assert loads[2:] == [(f"{line}/state", beta), (before, beta)]
    against = row(rows, "control", "overall", "ndcg@10", "champion")
    assert against["ci95"][1] < 0
    assert row(rows, "champion", "overall", "ndcg@10", "unrefreshed")["value"] > 0


def test_evaluation_reads_nothing_but_its_inputs(lake, settings, monkeypatch):
    """Each dataset it opens is an input of tonight's, or an earlier evaluation it pools."""
    opened = []
    local_path = Lake.local_path

    def watched(self, entry):
        opened.append(entry.path)
        return local_path(self, entry)

    nights = run_nights(lake, settings, monkeypatch, ["a"])
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    inputs = inputs_for(lake, settings, BEFORE, INSIDE, night=night_after(NIGHT, 1), recipe_id="a")
    inputs["previous"] = nights[0]
    monkeypatch.setattr(Lake, "local_path", watched)

    evaluate(lake, settings, inputs, night_after(NIGHT, 1))

    allowed = {entry.path for manifest in inputs.values() for entry in manifest.files}
    assert opened
    assert set(opened) <= allowed


def test_the_window_changes_no_list(lake, settings, monkeypatch):
    """What users do in the night reaches the metrics only: histories end before it starts."""
    seen = []

    class Watching(Planted):
        def top_k(self, histories, k, *, candidates, exclude_seen):
            seen.append(histories.times.max())
            return super().top_k(histories, k, candidates=candidates, exclude_seen=exclude_seen)

    plant_models(monkeypatch, {a: Watching(TARGETS, 0.5) for a in ("control", "challenger")})
    evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE))
    assert max(seen) < NIGHT.start.timestamp() * 1e6


def test_searches_are_judged_for_the_baselines_where_the_models_take_none(
    lake, settings, monkeypatch
):
    plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
    past, asked = (searches(range(n)) for n in (10, 30))
    inputs = inputs_for(lake, settings, BEFORE, INSIDE, searches=(past, asked))

    done = evaluate(lake, settings, inputs)

    rows = results(lake, done)
    assert done.stats["search"] == "30 queries; the models take none, only baselines judged"
    assert row(rows, "bm25", "overall", "search_ndcg@10")["value"] == pytest.approx(1)
    assert row(rows, "bm25", "head_queries", "search_mrr")["n"] == 10
    assert row(rows, "bm25", "tail_queries", "search_mrr")["n"] == 20
    assert not [r for r in rows if r["slice"] == "head_queries" and "search" not in r["metric"]]


def searches(items) -> pl.DataFrame:
    """A query that names the item; each is asked five times."""
    found = [
        {"user_key": f"u{i}", "query": f" Number I{i:03} ", "item_id": item_id(i)}
        for i in items
        for _ in range(5)
    ]
    return pl.DataFrame(found).with_columns(
        grade=pl.lit(None, pl.Float64), occurred_at=pl.lit(NIGHT.start)
    )


def test_equal_inputs_give_equal_digests(tmp_path, monkeypatch):
    digests = []
    for name in ("one", "two"):
        settings = settings_for(tmp_path / name)
        lake = Lake.of(settings)
        plant_models(monkeypatch, {a: Planted(TARGETS, 0.5) for a in ("control", "challenger")})
        digests.append(evaluate(lake, settings, inputs_for(lake, settings, BEFORE, INSIDE)).digest)
    assert digests[0] == digests[1]
