"""From samples to what the trainer sees: contexts, unknown items, hard negatives."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from nightshift.lake import Lake
from nightshift.recommend.samples.arms import hard_negatives, known_items, sample_rows, training_set
from nightshift.snapshot import Snapshot
from shop_by_hand import NIGHT, events, histories, samples, settings_for, write_snapshot

CATALOGUE = ["a", "b", "c", "d", "e"]  # codes 0 to 4
BEFORE = {"u1": ["a", "b"], "u2": ["b"], "u3": ["c", "c"]}


@pytest.fixture
def snapshot(tmp_path):
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    before = events(BEFORE, NIGHT.start - timedelta(days=1))
    return Snapshot(lake, write_snapshot(lake, settings, before, CATALOGUE))


def test_contexts_keep_their_order_their_newest_items_and_only_known_ones(snapshot):
    found = sample_rows(
        snapshot,
        samples(
            {"item_id": "e", "context_items": ["d", "a", "b", "c"], "weight": 0.3},
            {"item_id": "d", "context_items": ["c", "gone", "a"]},
            {"item_id": "c", "context_items": ["gone"]},
            {"item_id": "b", "context_items": []},
        ),
        max_length=3,
    )
    assert found is not None
    assert found.contexts.tolist() == [[0, 1, 2], [2, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    assert found.lengths.tolist() == [3, 2, 0, 0]
    assert found.targets.tolist() == [4, 3, 2, 1]
    assert found.weights.tolist() == pytest.approx([0.3, 1, 1, 1])


def test_samples_without_a_target_in_the_catalogue_or_without_weight_are_left_out(snapshot):
    left_out = samples(
        {"item_id": "gone", "context_items": ["a"]},
        {"item_id": "a", "weight": 0.0},
        {"kind": "query", "item_id": "a", "text": "a query"},
        {"kind": "negative", "item_id": "a", "user_key": "u2"},
    )
    assert sample_rows(snapshot, left_out, max_length=3) is None
    one = sample_rows(
        snapshot, left_out.vstack(samples({"item_id": "b", "context_items": ["a"]})), max_length=3
    )
    assert one is not None
    assert (one.contexts.tolist(), one.targets.tolist()) == ([[0]], [1])


def test_hard_negatives_are_a_table_by_user(snapshot):
    negative = {"kind": "negative", "strategy": "negatives"}
    table = hard_negatives(
        snapshot,
        samples(
            negative | {"user_key": "u3", "item_id": "e"},
            negative | {"user_key": "u1", "item_id": "d"},
            negative | {"user_key": "u3", "item_id": "a"},
            negative | {"user_key": "u3", "item_id": "a"},  # carried from an earlier night
            negative | {"user_key": "u3", "item_id": "gone"},
            negative | {"user_key": "stranger", "item_id": "a"},
            negative | {"user_key": "u2", "item_id": "a", "weight": 0.0},
        ),
    )
    assert table is not None
    assert table.tolist() == [[3, -1], [-1, -1], [0, 4]]


def test_what_the_user_has_bought_since_is_no_negative(snapshot):
    negative = {"kind": "negative", "strategy": "negatives", "user_key": "u1"}
    bought = samples(negative | {"item_id": "a"})
    assert hard_negatives(snapshot, bought) is None
    table = hard_negatives(snapshot, bought.vstack(samples(negative | {"item_id": "e"})))
    assert table is not None
    assert table[0].tolist() == [4]


def test_without_samples_there_is_nothing_beside_the_real_rows(snapshot):
    found = training_set(snapshot, samples(), max_length=4)
    assert found.hard is None
    assert len(found.windows) == 3


def test_negatives_are_drawn_from_items_with_events_only(snapshot):
    # A cold item is never a negative, or its text would be taught to be unwanted.
    assert training_set(snapshot, samples(), max_length=4).negative_pool.tolist() == [0, 1, 2]
    assert known_items(histories([[4, 4], [1]])).tolist() == [1, 4]
    assert known_items(histories([[]])).dtype == np.int64
