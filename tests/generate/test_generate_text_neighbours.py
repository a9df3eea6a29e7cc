import json

import numpy as np
import polars as pl
import pytest
from strategy_runs import generate_all

from nightshift.generate.neighbours import TextIndex
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.text_neighbours import TextNeighbours


@pytest.fixture
def samples(sources: Sources) -> pl.DataFrame:
    return generate_all(TextNeighbours(sources), 10**6)


def of(sources: Sources, samples: pl.DataFrame) -> pl.DataFrame:
    """Samples beside codes of user, target and source."""
    items, users = sources.snapshot.item_codes, sources.snapshot.user_codes
    return (
        samples.with_columns(
            source=pl.col("lineage").map_elements(
                lambda text: json.loads(text)["sources"][0], return_dtype=pl.String
            ),
            similarity=pl.col("scores").map_elements(
                lambda text: json.loads(text)["similarity"], return_dtype=pl.Float64
            ),
        )
        .join(items.rename({"item": "target_code"}), on="item_id", maintain_order="left")
        .join(
            items.rename({"item_id": "source", "item": "source_code"}),
            on="source",
            maintain_order="left",
        )
        .join(users, on="user_key", maintain_order="left")
    )


def test_sources_are_the_nearest_other_texts(sources: Sources, samples: pl.DataFrame) -> None:
    own = sources.settings.generate.text_neighbours
    vectors, row_of_item = sources.texts
    had = np.zeros(len(vectors), dtype=bool)
    had[row_of_item[sources.snapshot.histories.items]] = True
    rows = of(sources, samples)
    target = row_of_item[rows["target_code"].to_numpy()]
    source = row_of_item[rows["source_code"].to_numpy()]
    cosine = vectors @ vectors.T
    assert len(rows) > 1000
    assert (target != source).all()  # a variant is no neighbour
    assert np.abs(cosine[target, source] - rows["similarity"].to_numpy()).max() < 1e-3
    assert (cosine[target, source] >= own.min_similarity - 1e-3).all()
    closer = ((cosine[target] > cosine[target, source][:, None] + 1e-3) & had).sum(axis=1)
    itself = had[target] & (cosine[target, target] > cosine[target, source] + 1e-3)
    assert (closer - itself < own.neighbours).all()


def test_a_context_is_the_history_in_front_of_the_neighbour(
    sources: Sources, samples: pl.DataFrame
) -> None:
    histories, ids = sources.snapshot.histories, sources.snapshot.items["item_id"]
    longest = sources.settings.generate.text_neighbours.max_context
    assert samples["context_items"].list.len().max() == longest
    rows = of(sources, samples).sample(300, seed=1)
    for user, source, context in rows.select("user", "source", "context_items").iter_rows():
        history = ids.gather(histories.of(user)).to_list()
        latest = max(i for i, item in enumerate(history) if item == source)
        assert latest > 0  # a history's first item has nothing in front of it
        assert context == history[:latest][-longest:]


def test_nobody_is_given_what_they_had(sources: Sources, samples: pl.DataFrame) -> None:
    histories = sources.snapshot.histories
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    had = set(zip(users.tolist(), histories.items.tolist(), strict=True))
    rows = of(sources, samples)
    given = rows.select("user", "target_code").rows()
    assert not had & set(given)
    assert len(given) == len(set(given))


def test_a_sample_weighs_the_more_the_nearer_its_neighbour_is(
    sources: Sources, samples: pl.DataFrame
) -> None:
    rows = of(sources, samples)
    assert (rows["weight"] - rows["similarity"] ** 4).abs().max() < 1e-3
    own = samples.select(pl.col("scores").str.json_path_match("$.weight").cast(pl.Float64))
    assert (own["scores"] - samples["weight"]).abs().max() < 1e-6


def test_withheld_items_are_reached(sources: Sources, samples: pl.DataFrame) -> None:
    rows = of(sources, samples).join(
        sources.snapshot.items.select("item_id", "withheld"), on="item_id"
    )
    reached = rows.filter("withheld")["item_id"].n_unique()
    assert reached > 0.8 * sources.snapshot.withheld.sum()
    assert rows["label"].unique().to_list() == [1.0]
    per_item = rows.group_by("item_id").len()["len"]
    assert per_item.max() <= sources.settings.generate.text_neighbours.contexts_per_item


def test_draws_do_not_depend_on_the_chunk_but_on_the_seed(
    sources: Sources, samples: pl.DataFrame
) -> None:
    strategy = TextNeighbours(sources)
    halves = generate_all(strategy, 10**6, chunks=7)
    assert set(halves["sample_id"]) == set(samples["sample_id"])
    strategy.seed = 1
    other = generate_all(strategy, 10**6)
    assert 0 < len(set(other["sample_id"]) & set(samples["sample_id"])) < 0.9 * other.height


def test_a_target_without_a_neighbour_is_counted(sources: Sources) -> None:
    sources.settings = sources.settings.with_(
        {"generate": {"text_neighbours": {"min_similarity": 0.999}}}
    )
    strategy = TextNeighbours(sources)
    wishes = strategy.plan(10**6)
    strategy.fit()
    chunk = strategy.generate(wishes)
    assert chunk.dropped["no_neighbour"] > 0.9 * wishes["budget"].sum()


def test_the_index_is_exact_in_blocks_and_breaks_ties_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    vectors[5] = (vectors[0] + vectors[2]) / np.sqrt(2)
    index = TextIndex(vectors, np.array([True, True, True, True, False, True]))
    rows, cosines = index.nearest(np.array([5, 4, 0]), 3, min_similarity=0.5)
    assert rows.tolist() == [[0, 1, 2], [-1, -1, -1], [1, 5, -1]]
    assert np.allclose(cosines[0], np.sqrt(0.5), atol=1e-4)
    monkeypatch.setattr("nightshift.generate.neighbours._BLOCK_BYTES", 1)
    assert (index.nearest(np.array([5, 4, 0]), 3, min_similarity=0.5)[0] == rows).all()
    nothing = TextIndex(vectors, np.zeros(6, dtype=bool))
    assert nothing.nearest(np.array([0]), 3, min_similarity=0)[0].shape == (1, 0)
