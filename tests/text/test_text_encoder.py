"""The encoder: a text's vector is its own, whoever shares the batch, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from nightshift.errors import SettingsError
from nightshift.settings import Settings
from nightshift.text.encoder import Encoder, encoder_digest

TEXTS = [
    "milk",
    "whole milk, half a gallon",
    "skim milk, half a gallon",
    "oat drink",
    "dog food with beef, adult dogs",
    "Zahnbürste, weich",
    "",
    "milk",
    "word " * 400,
    *(f"canned tomatoes {n} oz" for n in range(20)),
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(
        Settings.load({"compute": {"threads": 1, "device": "cpu"}, "text": {"batch": 8}})
    )


def test_vectors_are_unit_and_half_precision(encoder: Encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.width)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert np.array_equal(vectors, vectors.astype(np.float16).astype(np.float32))
    assert encoder.encode([]).shape == (0, encoder.width)


def test_a_vector_does_not_depend_on_batch_mates_or_order(encoder: Encoder):
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    order = list(range(len(TEXTS)))
    random.Random(3).shuffle(order)
    shuffled = encoder.encode([TEXTS[row] for row in order])

    assert np.array_equal(together, alone)
    assert np.array_equal(together[order], shuffled)
    assert np.array_equal(together[0], together[7])  # the same text twice


def test_near_texts_are_near(encoder: Encoder):
    whole, skim, dog = encoder.encode([TEXTS[1], TEXTS[2], TEXTS[4]])
    assert whole @ skim > 0.7 > 0.5 > whole @ dog


def test_what_is_cut_off_is_part_of_the_encoders_name(encoder: Encoder):
    longer = encoder.settings.with_({"text": {"max_tokens": 128}})
    assert encoder_digest(longer) != encoder_digest(encoder.settings)
    other_batch = encoder.settings.with_({"text": {"batch": 16}})
    assert encoder_digest(other_batch) == encoder_digest(encoder.settings)


def test_a_folder_without_a_model_is_a_wrong_setting(tmp_path: Path):
    settings = Settings.load({"text": {"encoder": str(tmp_path)}})
    with pytest.raises(SettingsError, match=r"config\.json") as caught:
        Encoder(settings)
    assert "Hugging Face" in caught.value.hint
