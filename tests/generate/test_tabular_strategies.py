"""What holds for every strategy of behaviour that needs no network: chunks, resuming, the cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from strategy_runs import generate_all

from conftest import sources_of
from factories import NIGHT, write_snapshot
from nightshift import stages
from nightshift.generate import shard
from nightshift.generate.behaviour.copies import RealStretches
from nightshift.generate.behaviour.sequences import cut
from nightshift.generate.customers import made_up
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import Ran

MADE_UP = ("bayes_net", "copula")
OF_USERS = ("sequence_ops", "upsample")
ALL = (*MADE_UP, *OF_USERS, "random_pairs")
FEW = {
    "generate": {
        "bayes_net": {"customers": 120},
        "copula": {"customers": 120},
        "upsample": {"sequences": 300},
        "random_pairs": {"pairs": 300},
    }
}


@pytest.fixture
def few(sources: Sources) -> Sources:
    sources.settings = sources.settings.with_(FEW)
    return sources


def whole(samples: pl.DataFrame) -> pl.Series:
    return samples.select(pl.concat_list("context_items", "item_id").alias("items"))["items"]


@pytest.mark.parametrize("name", ALL)
def test_samples_do_not_depend_on_the_chunk(few: Sources, name: str) -> None:
    at_once = generate_all(create_strategy(name, few), 10**6)
    dealt = generate_all(create_strategy(name, few), 10**6, chunks=7)
    assert at_once.height > 100
    assert dealt.sort("sample_id").equals(at_once.sort("sample_id"))


@pytest.mark.parametrize("name", ALL)
def test_another_seed_gives_other_samples(few: Sources, name: str) -> None:
    first = generate_all(create_strategy(name, few), 10**6)
    few.settings = few.settings.with_({"generate": {"seed": 1}})
    second = generate_all(create_strategy(name, few), 10**6)
    assert len(set(first["sample_id"]) & set(second["sample_id"])) < 0.5 * first.height


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_customers_are_nobody(few: Sources, name: str) -> None:
    strategy = create_strategy(name, few)
    wishes = strategy.plan(10**6)
    assert wishes["user_key"].to_list() != sorted(wishes["user_key"])  # by shortage, not by number
    assert set(wishes["user_key"]) == {made_up.made_up_key(n) for n in range(120)}
    assert wishes["item_id"].null_count() == 120
    samples = generate_all(strategy, 10**6)
    assert samples["user_key"].null_count() == samples.height
    assert samples["kind"].unique().to_list() == ["sequence"]
    customers = [json.loads(row)["customer"] for row in samples["lineage"]]
    assert len(set(customers)) == len(customers)
    assert set(customers) <= set(wishes["user_key"])
    assert whole(samples).list.len().is_between(2, 10).all()


@pytest.mark.parametrize("name", MADE_UP)
def test_a_copy_of_a_customer_is_dropped_and_counted(
    few: Sources, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = create_strategy(name, few)
    wishes = strategy.plan(10**6)
    strategy.fit()
    before = strategy.generate(wishes)
    long = int((whole(pl.DataFrame(before.samples)).list.len() >= 3).sum())
    monkeypatch.setattr(RealStretches, "holds", lambda _, items: (items >= 0).sum(axis=1) >= 3)
    after = strategy.generate(wishes)
    assert after.dropped["copies_a_customer"] >= long > 50
    assert after.samples.num_rows == before.samples.num_rows - long


def test_real_stretches_are_known_and_others_are_not(sources: Sources) -> None:
    histories = sources.snapshot.histories
    real = RealStretches(histories.indptr, histories.items)
    starts = histories.indptr[:-1][histories.lengths >= 12]
    for length in (3, 7, 12):
        assert real.holds(cut(histories, starts, starts + length)).all()
    assert not real.holds(cut(histories, starts, starts + 2)).any()
    turned = cut(histories, starts, starts + 12)[:, ::-1]
    assert real.holds(turned).mean() < 0.1
    other = cut(histories, starts, starts + 5)
    other[:, 4] = (other[:, 4] + 1) % sources.snapshot.items.height
    assert real.holds(other).mean() < 0.2
    ends = histories.indptr[1:-1]  # the end of one customer and the start of the next is nobody's
    assert real.holds(cut(histories, ends - 6, ends + 6)).mean() < 0.1


def test_an_upsampled_stretch_is_one_of_its_users(few: Sources) -> None:
    samples = generate_all(create_strategy("upsample", few), 10**6)
    snapshot = few.snapshot
    users = dict(snapshot.user_codes.select("user_key", "user").iter_rows())
    ids = snapshot.items["item_id"]
    for key, items, lineage in zip(
        samples["user_key"], whole(samples).to_list(), samples["lineage"], strict=True
    ):
        history = ids.gather(snapshot.histories.of(users[key])).to_list()
        first = json.loads(lineage)["first"]
        assert history[first : first + len(items)] == items
    lengths = whole(samples).list.len()
    assert lengths.max() == few.settings.generate.upsample.max_length
    assert abs(samples.height - 300) < 60


def test_random_pairs_are_new_to_their_user_and_claim_no_similarity(few: Sources) -> None:
    samples = generate_all(create_strategy("random_pairs", few), 10**6)
    users = dict(few.snapshot.user_codes.select("user_key", "user").iter_rows())
    codes = dict(few.snapshot.item_codes.select("item_id", "item").iter_rows())
    for key, item, context in samples.select("user_key", "item_id", "context_items").iter_rows():
        had = set(few.snapshot.histories.of(users[key]).tolist())
        assert codes[item] not in had
        assert {codes[i] for i in context} <= had
    assert samples["scores"].unique().to_list() == ["{}"]
    assert samples["item_id"].n_unique() > 0.4 * few.snapshot.items.height


def test_an_operation_never_gives_back_what_it_got(few: Sources) -> None:
    samples = generate_all(create_strategy("sequence_ops", few), 10**6)
    users = dict(few.snapshot.user_codes.select("user_key", "user").iter_rows())
    ids, own = few.snapshot.items["item_id"], few.settings.generate.sequence_ops
    done = samples.with_columns(
        operation=pl.col("lineage").str.json_path_match("$.operation"),
        changed=pl.col("scores").str.json_path_match("$.changed").cast(pl.Float64),
    )
    assert set(done["operation"]) == set(own.operations)
    assert done["changed"].is_between(0, 1, closed="right").all()
    assert (done.group_by("user_key").len()["len"] <= own.per_user).all()
    for key, items in zip(samples["user_key"], whole(samples).to_list(), strict=True):
        latest = ids.gather(few.snapshot.histories.of(users[key])[-own.max_length :]).to_list()
        assert items != latest
    near = done.filter(pl.col("operation") == "substitute")["scores"]
    assert near.str.json_path_match("$.similarity").cast(pl.Float64).min() >= own.min_similarity


@pytest.mark.parametrize("name", ALL)
def test_what_happens_after_the_cut_leaves_no_trace(
    name: str, home: Path, settings: Settings, lake: Lake
) -> None:
    settings = settings.with_(FEW)
    before = generate_all(create_strategy(name, sources_of(lake, settings)), 10**6)
    for path in (home / "lake").glob("fits/**/*.safetensors"):
        path.unlink()
    write_snapshot(lake, settings, part="morning", households=80, n_items=300, cold_every=10)
    after = generate_all(create_strategy(name, sources_of(lake, settings)), 10**6)
    assert after.equals(before)
    withheld = sources_of(lake, settings).snapshot.items.filter("withheld")["item_id"]
    if name == "upsample":  # real rows alone: a withheld item has none
        assert not whole(after).explode().is_in(withheld.implode()).any()


@pytest.mark.parametrize("name", ALL)
def test_killed_and_run_again_is_the_same_as_unbroken(
    name: str,
    settings: Settings,
    lake: Lake,
    run_all: Callable[[Settings], dict[str, Ran]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings.with_(FEW).with_({"generate": {"strategies": [name], "chunk_targets": 1}})
    plan = stages.run("plan", NIGHT, settings).manifest
    parts = {"shard": f"{name}-000"}
    original, calls = shard.store_chunk, 0

    def killed_at_the_third(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(shard, "store_chunk", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        stages.run("generate", NIGHT, settings, parts)
    monkeypatch.setattr(shard, "store_chunk", original)
    resumed = stages.run("generate", NIGHT, settings, parts)
    assert plan.stats["shards"] == [parts["shard"]]
    for path in Path(lake.root.removeprefix("file://")).glob("chunks/*/*.parquet"):
        path.unlink()
    for path in Path(lake.root.removeprefix("file://")).glob("fits/**/*.safetensors"):
        path.unlink()
    unbroken = stages.run("generate", NIGHT, settings, parts, force=True)
    assert unbroken.manifest.digest == resumed.manifest.digest
    assert unbroken.manifest.rows > 50


def test_made_up_customers_are_as_the_shops_own_mix(sources: Sources) -> None:
    users = sources.snapshot.users
    sources.snapshot.__dict__["users"] = users.with_columns(
        segment=pl.Series(["a"] * 60 + ["b"] * (users.height - 60)),
        top_categories=pl.Series([["x"]] * 60 + [["y"]] * (users.height - 60)),
    )
    keys = [made_up.made_up_key(n) for n in range(4000)]
    drawn = made_up.draw_conditions(sources, keys)
    assert drawn["user_key"].to_list() == keys
    pairs = dict(drawn.group_by("segment", "category").len().select("segment", "len").iter_rows())
    assert len(pairs) == 2  # both together: nobody of segment a has favourite y
    assert abs(pairs["a"] / 4000 - 60 / users.height) < 0.03
    assert made_up.draw_conditions(sources, keys[7:8]).equals(drawn[7:8])
    assert made_up.wishes(sources, 10)["user_key"].n_unique() == 10
