"""Embeddings in the lake: no text is encoded twice, whoever else writes, whatever is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from factories import NIGHT, make_settings, write_snapshot
from nightshift import stages
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.text.embeddings import embed, text_digest
from nightshift.text.encoder import Encoder

FIRST = ["milk", "bread", "milk", "", "butter"]
SECOND = ["bread", "jam", "milk", "äpfel"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "one")


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.of(settings)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the real encoder was given."""
    texts: list[str] = []
    encode = Encoder.encode

    def counted(self: Encoder, given: Sequence[str], label: str = "embed") -> np.ndarray:
        texts.extend(given)
        return encode(self, given, label)

    monkeypatch.setattr(Encoder, "encode", counted)
    return texts


def vector_of(
    result: tuple[np.ndarray, np.ndarray, int], texts: list[str], text: str
) -> np.ndarray:
    vectors, rows, _ = result
    return vectors[rows[texts.index(text)]]


def test_no_text_is_encoded_twice(lake: Lake, settings: Settings, encoded: list[str]):
    first = embed(lake, settings, FIRST)
    again = embed(lake, settings, FIRST)
    second = embed(lake, settings, SECOND)

    assert [first[2], again[2], second[2]] == [4, 0, 2]
    assert sorted(encoded) == ["", "bread", "butter", "jam", "milk", "äpfel"]
    assert first[0].dtype == np.float16
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    for text in ("bread", "milk"):
        assert np.array_equal(vector_of(first, FIRST, text), vector_of(second, SECOND, text))


def test_rows_point_at_the_texts_own_vector(lake: Lake, settings: Settings):
    result = embed(lake, settings, FIRST)
    assert len(result[0]) == 4  # distinct
    assert result[1][0] == result[1][2]  # milk
    for text in set(FIRST):
        expected = Encoder(settings).encode([text]).astype(np.float16)[0]
        assert np.array_equal(vector_of(result, FIRST, text), expected)
    vectors, rows, new = embed(lake, settings, [])
    assert (len(vectors), len(rows), new) == (0, 0, 0)


def test_two_writers_at_once_agree(lake: Lake, settings: Settings):
    results: dict[int, tuple[np.ndarray, np.ndarray, int]] = {}
    gate = threading.Barrier(2)

    def write(number: int, texts: list[str]) -> None:
        gate.wait()
        results[number] = embed(lake, settings, texts)

    writers = [threading.Thread(target=write, args=given) for given in ((0, FIRST), (1, SECOND))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    for text in ("bread", "milk"):
        assert np.array_equal(
            vector_of(results[0], FIRST, text), vector_of(results[1], SECOND, text)
        )
    assert embed(lake, settings, FIRST + SECOND)[2] == 0


def test_the_order_in_which_texts_came_does_not_show(settings: Settings, tmp_path: Path):
    one, other = Lake.of(settings), Lake.of(make_settings(tmp_path / "two"))
    embed(one, settings, FIRST)
    embed(other, settings, SECOND)
    embed(other, settings, list(reversed(FIRST)))
    together = FIRST + SECOND

    found, expected = embed(one, settings, together), embed(other, settings, together)

    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_a_text_is_known_by_its_bytes():
    assert len({text_digest(text) for text in ("milk", "Milk", "milk ", "")}) == 4
    assert len(text_digest("milk")) == 16


@pytest.fixture
def night_in(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings whose lake holds a snapshot."""

    def make(name: str) -> Settings:
        settings = make_settings(tmp_path / name)
        write_snapshot(Lake.of(settings), settings, households=40, n_items=120)
        return settings

    return make


def test_the_stage_gives_the_same_digest_in_a_second_lake(
    night_in: Callable[[str], Settings], encoded: list[str]
):
    settings, others = night_in("a"), night_in("b")
    embed(Lake.of(others), others, SECOND)  # what is there already does not show

    first = stages.run("embed", NIGHT, settings).manifest
    encoded.clear()
    second = stages.run("embed", NIGHT, others).manifest

    assert second.digest == first.digest
    assert encoded
    assert 0 < first.stats["distinct_texts"] < first.stats["items"]
    encoded.clear()
    assert stages.run("embed", NIGHT, settings, force=True).manifest.digest == first.digest
    assert encoded == []


def test_a_full_scan_of_segments_survives_one_that_vanishes(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    embed(lake, settings, FIRST)
    names = lake.names
    monkeypatch.setattr(lake, "names", lambda folder: [*names(folder), "gone.parquet"])
    assert embed(lake, settings, FIRST)[2] == 0
