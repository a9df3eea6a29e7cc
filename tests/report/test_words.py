"""How figures read."""

from __future__ import annotations

import pytest

from nightshift.report import words


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0213, "+2.1 %"), (-0.004, "−0.4 %"), (0.0, "0.0 %"), (-0.0001, "0.0 %"), (None, "–")],
)
def test_a_lift_carries_its_sign_and_a_rounded_zero_has_none(
    value: float | None, expected: str
) -> None:
    assert words.signed(value) == expected


def test_an_interval_is_in_brackets_and_a_missing_one_is_named() -> None:
    assert words.interval((-0.012, 0.047)) == "[−1.2, +4.7]"
    assert words.interval((0.0, 0.02)) == "[0.0, +2.0]"
    assert words.interval(None) == "no interval"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, "–")],
)
def test_durations_use_the_unit_a_person_would(seconds: float | None, expected: str) -> None:
    assert words.duration(seconds) == expected


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(512, "512 B"), (3_400, "3.4 kB"), (999_900, "1.0 MB"), (123_456_789, "123 MB")],
)
def test_sizes_use_powers_of_a_thousand(octets: int, expected: str) -> None:
    assert words.size(octets) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0002, "under 1 ms"), (0.0124, "12 ms"), (1.42, "1.4 s"), (None, "–")],
)
def test_what_a_sample_took_is_never_nothing(seconds: float | None, expected: str) -> None:
    assert words.cost(seconds) == expected


def test_names_in_code_become_words() -> None:
    assert words.readable("text_neighbours") == "Text neighbours"
    assert words.readable("item_knn") == "Item kNN"
    assert words.readable("llm_queries") == "LLM queries"


def test_shortening_keeps_what_fits_and_marks_what_does_not() -> None:
    assert words.shorten("a  b\nc", 10) == "a b c"
    assert words.shorten("abcdefgh", 5) == "abcd…"
