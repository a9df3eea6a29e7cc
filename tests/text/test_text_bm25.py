"""BM25 over texts: which words count, and what an index without any does."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.text.bm25 import PLAIN, PLURAL, Bm25, Indexes, scaled, singular


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("lights", "light"),
        ("batteries", "battery"),
        ("dresses", "dresse"),  # its limit: `dress` stays
        ("shoes", "shoe"),
        ("glass", "glass"),
        ("bonus", "bonus"),
        ("gas", "gas"),
    ],
)
def test_plurals_lose_their_ending(word, found):
    assert singular(word) == found


TITLES = ["Red lamp, a pair of lamps", "Blue lamp", "Christmas lights", "Wine rack"]


def test_the_text_with_the_rarer_word_is_first():
    found = Bm25(TITLES).scores(["blue LAMP", "rack"])
    assert found.shape == (2, 4)
    assert found.argmax(axis=1).tolist() == [1, 3]


def test_a_singular_finds_a_plural_where_words_are_cut():
    asked = ["christmas light", "light"]
    assert Bm25(TITLES, PLAIN).scores(asked)[1].max() == 0
    assert Bm25(TITLES, PLURAL).scores(asked)[1].argmax() == 2


def test_unknown_words_and_no_words_find_nothing():
    assert not Bm25(TITLES).scores(["zyzzyva", "", "?"]).any()


@pytest.mark.parametrize("texts", [["", ""], [""], ["?", "a"]])
def test_texts_without_a_word(texts):
    found = Bm25(texts).scores(["lamp"])
    assert found.tolist() == [[0.0] * len(texts)]


def test_one_text_and_no_query():
    assert Bm25(["lamp"]).scores(["lamp"]).shape == (1, 1)
    assert Bm25(["lamp"]).scores([]).shape == (0, 1)


def test_scaled_scores_end_at_one_and_zeros_stay():
    found = scaled(np.array([[1, 4, 0], [0, 0, 0]], dtype=np.float32))
    assert found.tolist() == [[0.25, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_an_index_is_made_once():
    indexes = Indexes(TITLES)
    assert indexes[PLAIN] is indexes[PLAIN]
    assert indexes[PLURAL].stem == PLURAL
    assert len(indexes) == 4
