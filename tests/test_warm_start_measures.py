"""The measures know the same model from another one, and count a customer once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from benchmarks.warm_start_measures import agreement, compared, costs, overlap


def test_overlap_looks_at_items_and_not_at_places() -> None:
    lists = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32)
    turned = lists[:, ::-1].copy()
    half = np.array([[1, 2, 30, 40], [7, 8, 70, 80]], np.int32)
    assert overlap(lists, turned) == 1
    assert overlap(lists, half) == 0.5
    assert overlap(lists, lists + 100) == 0


def test_places_that_are_empty_in_both_lists_are_no_agreement() -> None:
    short = np.array([[1, -1, -1, -1]], np.int32)
    assert overlap(short, short) == 0.25


def test_agreement_does_not_see_a_customers_constant_nor_the_scale() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 200))
    moved = 3 * scores + rng.normal(size=(20, 1))
    assert agreement(scores, moved) == pytest.approx(1)
    assert agreement(scores, -scores) == pytest.approx(-1)
    assert agreement(scores, rng.normal(size=scores.shape)) == pytest.approx(0, abs=0.05)


def figures(values: dict[tuple[str, str], list[float]], users: list[str]) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"user_key": users, "value": found}).with_columns(
            night=pl.lit(night), arm=pl.lit(arm)
        )
        for (night, arm), found in values.items()
    )


def test_a_difference_is_relative_to_what_the_other_is_worth() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(200)
    users = [f"u{i}" for i in range(200)]
    frame = figures({("a", "warm"): list(base * 1.1), ("a", "scratch"): list(base)}, users)
    row = compared(frame, "warm", "scratch")
    assert row["relative"] == pytest.approx(0.1)
    assert row["ci95"] == pytest.approx([0.1, 0.1])
    assert compared(frame, "scratch", "warm")["relative"] == pytest.approx(-0.1 / 1.1)


def test_nights_of_the_same_customers_are_not_more_customers() -> None:
    """Otherwise an interval would shrink with every night that is counted again."""
    rng = np.random.default_rng(2)
    users = [f"u{i}" for i in range(100)]
    ours, theirs = list(rng.random(100)), list(rng.random(100))
    once = {("a", "warm"): ours, ("a", "scratch"): theirs}
    thrice = once | {(night, arm): v for (_, arm), v in once.items() for night in "bc"}
    one, three = (compared(figures(v, users), "warm", "scratch") for v in (once, thrice))
    assert (one["n"], three["n"]) == (100, 100)
    assert three["ci95"] == pytest.approx(one["ci95"])
    assert (one["nights"], three["nights"]) == (1, 3)


def test_a_night_without_the_other_arm_is_left_out() -> None:
    users = ["u1", "u2"]
    frame = figures(
        {("a", "warm"): [1.0, 0.5], ("a", "again"): [0.5, 0.5], ("b", "warm"): [0.0, 0.0]}, users
    )
    row = compared(frame, "warm", "again")
    assert (row["nights"], row["relative"]) == (1, pytest.approx(0.5))


def test_costs_are_the_warm_lines_share_of_all_nights() -> None:
    nights = [
        {"steps": {"finetune": 20, "refresh": 10, "scratch": 400}},
        {"steps": {"finetune": 20, "refresh": 30, "scratch": 400}},
    ]
    assert costs(nights, "steps") == {
        "finetune": 40,
        "refresh": 40,
        "scratch": 800,
        "share": 0.1,
    }
