"""Placebos: as many rows as the challenger's, seeded, with nothing learnt in them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import polars as pl
import pytest

from nightshift.blend.placebos import PLACEBOS, random_pairs, upsample
from nightshift.lake import Lake
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, events, samples, settings_for, write_snapshot

ITEMS = [f"i{code:02}" for code in range(30)]
PAST = {
    **{f"u{n}": [ITEMS[(n * 7 + step) % 30] for step in range(6)] for n in range(8)},
    "once": ["i00"],
    "long": [ITEMS[step % 30] for step in range(45)],
}
INTERACTIONS = samples(
    *(
        {"item_id": ITEMS[n % 30], "context_items": [ITEMS[(n + 3) % 30]], "weight": 0.1 + n / 100}
        for n in range(40)
    )
)
SEQUENCES = samples(
    *(
        {
            "kind": "sequence",
            "item_id": ITEMS[n % 30],
            "context_items": [ITEMS[(n + step) % 30] for step in range(1 + n % 4)],
            "weight": 0.5 + n / 100,
        }
        for n in range(40)
    )
)


@pytest.fixture
def snapshot(tmp_path):
    def make(past=PAST):
        settings = settings_for(tmp_path)
        lake = Lake.of(settings)
        before = events(past, NIGHT.start - timedelta(days=5))
        return Snapshot(lake, write_snapshot(lake, settings, before, ITEMS, users=list(past)))

    return make


@pytest.mark.parametrize("name", list(PLACEBOS))
def test_a_placebo_has_the_challengers_rows_and_weights_and_says_what_it_is(snapshot, name):
    found = PLACEBOS[name](snapshot(), INTERACTIONS, 11)
    assert found.height == INTERACTIONS.height
    assert found.schema == INTERACTIONS.schema
    assert found["weight"].to_list() == INTERACTIONS["weight"].to_list()
    assert found["strategy"].unique().to_list() == [name]
    assert found["sample_id"].n_unique() == found.height
    assert found["lineage"].str.json_path_match("$.placebo").unique().to_list() == [name]


@pytest.mark.parametrize("name", list(PLACEBOS))
def test_a_placebo_is_seeded(snapshot, name):
    make, whole = PLACEBOS[name], snapshot()
    assert make(whole, INTERACTIONS, 11).equals(make(whole, INTERACTIONS, 11))
    assert not make(whole, INTERACTIONS, 11).equals(make(whole, INTERACTIONS, 12))


def test_random_pairs_are_the_challengers_contexts_and_targets_in_another_order(snapshot):
    found = random_pairs(snapshot(), INTERACTIONS, 11)
    assert found["context_items"].to_list() == INTERACTIONS["context_items"].to_list()
    assert Counter(found["item_id"]) == Counter(INTERACTIONS["item_id"])
    assert (found["item_id"] == INTERACTIONS["item_id"]).mean() < 0.2


def test_upsampled_rows_are_real_a_users_history_and_the_item_that_followed(snapshot):
    for row in upsample(snapshot(), INTERACTIONS, 11).iter_rows(named=True):
        history = PAST[row["user_key"]]
        context = row["context_items"]
        assert 0 < len(context) <= 30
        places = [
            place
            for place, item in enumerate(history)
            if item == row["item_id"] and history[max(0, place - 30) : place] == context
        ]
        assert places, row


def test_a_shop_with_fewer_rows_than_samples_has_them_drawn_more_than_once(snapshot):
    few = snapshot({"u0": ["i00", "i01", "i02"], "u1": ["i05"]})
    found = upsample(few, INTERACTIONS, 11)
    assert found.height == INTERACTIONS.height
    drawn = {(*context, item) for context, item in found.select("context_items", "item_id").rows()}
    assert drawn == {("i00", "i01"), ("i00", "i01", "i02")}


@pytest.mark.parametrize("name", list(PLACEBOS))
def test_no_interactions_no_rows(snapshot, name):
    found = PLACEBOS[name](snapshot(), INTERACTIONS.clear(), 11)
    assert found.is_empty()
    assert found.schema == INTERACTIONS.schema


def test_without_any_real_pair_there_is_nothing_to_upsample(snapshot):
    assert upsample(snapshot({"u0": ["i00"]}), INTERACTIONS, 11).is_empty()


def whole(frame):
    lists = frame["context_items"].to_list()
    return [[*context, item] for context, item in zip(lists, frame["item_id"], strict=True)]


def test_sequences_have_placebos_too_of_their_own_lengths_and_weights(snapshot):
    both = pl.concat(
        [INTERACTIONS, SEQUENCES.with_columns(sample_id=pl.format("s{}", "sample_id"))]
    )
    for name, make in PLACEBOS.items():
        found = make(snapshot(), both, 11)
        assert found["kind"].to_list() == both["kind"].to_list(), name
        assert found["weight"].to_list() == both["weight"].to_list()
        assert found["sample_id"].n_unique() == both.height
        rest = found.filter(pl.col("kind") == "interaction").drop("sample_id")
        assert rest.equals(make(snapshot(), INTERACTIONS, 11).drop("sample_id"))
    other = INTERACTIONS.with_columns(kind=pl.lit("description"))
    assert all(make(snapshot(), other, 11).is_empty() for make in PLACEBOS.values())


def test_shuffled_sequences_hold_the_same_items_and_no_order(snapshot):
    found = whole(random_pairs(snapshot(), SEQUENCES, 11))
    given = whole(SEQUENCES)
    assert [len(one) for one in found] == [len(one) for one in given]
    assert Counter(item for one in found for item in one) == Counter(
        i for one in given for i in one
    )
    assert sum(one == two for one, two in zip(found, given, strict=True)) < 5


def test_upsampled_sequences_are_real_and_no_longer_than_the_made_up_ones(snapshot):
    drawn = upsample(snapshot(), SEQUENCES, 11)
    for sequence, user, made_up in zip(
        whole(drawn), drawn["user_key"], whole(SEQUENCES), strict=True
    ):
        assert 2 <= len(sequence) <= len(made_up)
        history = PAST[user]
        assert any(history[at : at + len(sequence)] == sequence for at in range(len(history)))
