"""Search in the evaluation: baselines tuned on the past, and models judged as they are served."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from nightshift.evaluate.arms import Arm
from nightshift.evaluate.search import BM25, ENCODER, FUSION, Search
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.search.hybrid import Plan, SearchModel
from nightshift.settings import ModelSettings

N, WIDTH = 60, 32
IDS = [f"i{code:03}" for code in range(N)]
TEXTS = [f"thing name{code}" for code in range(N)]


def unit(array):
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


VECTORS = unit(np.random.default_rng(0).normal(size=(N, WIDTH)))


def snapshot_with(searches):
    """What `Search` reads of a snapshot."""
    items = pl.DataFrame({"item_id": IDS, "text": TEXTS})
    codes = items.select("item_id").with_row_index("item").cast({"item": pl.Int32})
    return SimpleNamespace(items=items, item_codes=codes, searches=searches)


def searches(of, text):
    schema = {"query": pl.String, "item_id": pl.String, "grade": pl.Float64}
    rows = [(text(code), IDS[code], None) for code in of]
    return pl.DataFrame(rows, schema=schema, orient="row")


def code_of(text):
    return int("".join(letter for letter in text if letter.isdigit()))


def exact(texts):
    """The embedding of a query is its item's."""
    return VECTORS[[code_of(text) for text in texts]]


def astray(texts):
    """The embedding of a query is another item's."""
    return VECTORS[[(code_of(text) + 7) % N for text in texts]]


def by_name(code):
    return f"name{code}"


def without_words(code):
    return f"wanted {code}"


def judged(found, arm, metric="search_ndcg@10"):
    frame = pl.concat(found.frames).filter(
        (pl.col("arm") == arm) & (pl.col("slice") == "overall") & (pl.col("metric") == metric)
    )
    return float(frame["value"].mean())


def arm(search=None):
    settings = ModelSettings(dim=16, layers=1, heads=2, max_length=4, features=16)
    stored = checkpoint.fresh(settings, VECTORS, IDS, seed=0)
    return Arm("control", 0, ModelRanker(stored, VECTORS, beta=0.0, search=search))


def planned(**plan):
    return SearchModel(Plan(**plan), torch.zeros(WIDTH, WIDTH))


def test_a_model_that_learnt_nothing_is_the_fusion_in_equal_parts():
    found = Search(
        snapshot_with(searches([], by_name)), searches(range(N), by_name), VECTORS, astray
    )
    found.add(arm())
    assert found.weight == 0.5
    assert found.status == f"{N} queries"
    for metric in ("search_ndcg@10", "search_recall@50", "search_mrr"):
        assert judged(found, "control", metric) == judged(found, FUSION, metric)


@pytest.mark.parametrize(
    ("text", "encode", "best", "weight"),
    [(by_name, astray, BM25, 1.0), (without_words, exact, ENCODER, 0.0)],
)
def test_the_fusions_weight_is_that_of_the_past(text, encode, best, weight):
    past, inside = searches(range(30), text), searches(range(30, N), text)
    found = Search(snapshot_with(past), inside, VECTORS, encode)
    assert abs(found.weight - weight) < 0.5
    assert judged(found, best) == pytest.approx(1.0)
    assert judged(found, FUSION) == pytest.approx(1.0)


def test_a_model_is_judged_by_its_own_plan():
    """Words say nothing here: with weight on BM25 alone it finds by chance."""
    inside = searches(range(N), without_words)
    found = Search(snapshot_with(searches([], by_name)), inside, VECTORS, exact)
    found.add(arm(planned(lexical=0.0)))
    dense = judged(found, "control")
    words = Search(snapshot_with(searches([], by_name)), inside, VECTORS, exact)
    words.add(arm(planned(lexical=1.0)))
    assert dense == pytest.approx(1.0)
    assert judged(words, "control") < 0.3


def test_a_night_without_searches_is_not_judged():
    found = Search(snapshot_with(searches([], by_name)), searches([], by_name), VECTORS, exact)
    found.add(arm())
    assert found.frames == []
    assert found.status.startswith("not judged")


def test_blank_and_ungraded_searches_do_not_count():
    inside = searches([1, 2], by_name).with_columns(grade=pl.Series([0.0, 2.0]))
    blank = searches([3], lambda code: "  ")
    found = Search(snapshot_with(searches([], by_name)), pl.concat([inside, blank]), VECTORS, exact)
    assert found.queries.texts == ["name2"]
    assert found.queries.gains.tolist() == [2.0]
