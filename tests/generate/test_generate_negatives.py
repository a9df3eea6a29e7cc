import json

import numpy as np
import polars as pl
import pytest
from strategy_runs import generate_all

from nightshift.generate.sources import Sources
from nightshift.generate.strategies.negatives import Negatives


@pytest.fixture
def samples(sources: Sources) -> pl.DataFrame:
    return (
        generate_all(Negatives(sources), 10**6)
        .join(sources.snapshot.item_codes, on="item_id", maintain_order="left")
        .join(sources.snapshot.user_codes, on="user_key", maintain_order="left")
    )


def test_negatives_are_untouched_and_not_too_near(sources: Sources, samples: pl.DataFrame) -> None:
    own = sources.settings.generate.negatives
    vectors, row_of_item = sources.texts
    histories = sources.snapshot.histories
    assert samples.height > 500
    for user, items in samples.group_by("user").agg("item").iter_rows():
        had = np.unique(row_of_item[histories.of(user)])
        negatives = row_of_item[items]
        assert not np.isin(negatives, had).any()
        assert (vectors[negatives] @ vectors[had].T).max() <= own.max_similarity + 1e-3
        assert len(set(items)) == len(items) <= own.per_user


def test_the_screen_is_what_keeps_near_copies_out(sources: Sources) -> None:
    def closest(limit: float) -> float:
        sources.settings = sources.settings.with_(
            {"generate": {"negatives": {"max_similarity": limit}}}
        )
        made = generate_all(Negatives(sources), 10**6)
        return max(json.loads(scores)["similarity"] for scores in made["scores"])

    assert closest(0.6) <= 0.6 < closest(1.0)


def test_an_item_without_events_is_never_called_unwanted(
    sources: Sources, samples: pl.DataFrame
) -> None:
    assert sources.snapshot.item_events[samples["item"].to_numpy()].min() > 0
    assert samples["label"].unique().to_list() == [0.0]
    assert samples["kind"].unique().to_list() == ["negative"]


def test_popularity_weighs_in(sources: Sources) -> None:
    def mean_popularity(power: float) -> float:
        sources.settings = sources.settings.with_(
            {"generate": {"negatives": {"popularity_power": power, "per_user": 5}}}
        )
        made = generate_all(Negatives(sources), 10**6)
        return float(np.mean([json.loads(scores)["popularity"] for scores in made["scores"]]))

    assert mean_popularity(2.0) > 1.5 * mean_popularity(0.0)


def test_negatives_do_not_depend_on_the_chunk(sources: Sources, samples: pl.DataFrame) -> None:
    dealt = generate_all(Negatives(sources), 10**6, chunks=5)
    assert set(dealt["sample_id"]) == set(samples["sample_id"])


def test_those_with_the_fewest_events_are_first(sources: Sources) -> None:
    wishes = Negatives(sources).plan(100).join(sources.snapshot.users, on="user_key")
    assert wishes.height == sources.snapshot.users.height
    short = wishes["shortage"].to_numpy()
    assert (np.diff(short) <= 0).all()
