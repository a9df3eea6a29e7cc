"""Batch gates: figures against limits."""

from __future__ import annotations

import numpy as np
import polars as pl

from nightshift.inspection.gates import MIN_ROWS, gates
from nightshift.settings import InspectionSettings


def batch(items: list[str], texts: list[str] | None = None) -> pl.DataFrame:
    users = [None] * len(items)
    frame = {"item_id": items, "user_key": users, "folded": texts or items}
    return pl.DataFrame(frame, schema_overrides={"user_key": pl.String})


def stopped(frame: pl.DataFrame, rejected: int, **limits: float) -> list[str]:
    mask = np.arange(frame.height) < rejected
    found = gates(frame, mask, InspectionSettings(**limits), has_text=True)
    return [gate.name for gate in found if not gate.passed]


def test_a_good_batch_passes_every_gate() -> None:
    frame = batch([f"i{n}" for n in range(100)])
    found = gates(frame, np.zeros(100, dtype=bool), InspectionSettings(), has_text=True)
    assert [(g.name, g.value, g.passed) for g in found] == [
        ("rejected_share", 0.0, True),
        ("item_share", 0.01, True),
        ("distinct_texts", 1.0, True),
    ]


def test_the_rejected_share_stops_only_above_its_limit() -> None:
    frame = batch([f"i{n}" for n in range(10)])
    assert stopped(frame, 6, max_rejected=0.6) == []
    assert stopped(frame, 7, max_rejected=0.6) == ["rejected_share"]


def test_one_item_must_not_fill_a_batch() -> None:
    items = ["same"] * 30 + [f"i{n}" for n in range(70)]
    texts = [f"t{n}" for n in range(100)]
    assert stopped(batch(items, texts), 0, max_item_share=0.3) == []
    assert stopped(batch(items, texts), 0, max_item_share=0.29) == ["item_share"]


def test_nor_must_one_user_where_texts_are_about_users() -> None:
    users = ["same"] * 30 + [f"u{n}" for n in range(70)]
    frame = batch(users, [f"t{n}" for n in range(100)]).rename(
        {"item_id": "user_key", "user_key": "item_id"}
    )
    assert stopped(frame, 0, max_item_share=0.3) == []
    assert stopped(frame, 0, max_item_share=0.29) == ["item_share"]


def test_rejected_rows_do_not_count_for_the_other_gates() -> None:
    items = ["same"] * 40 + [f"i{n}" for n in range(60)]
    assert stopped(batch(items, [f"t{n}" for n in range(100)]), 40, max_item_share=0.2) == []


def test_a_batch_that_says_the_same_thing_is_stopped() -> None:
    items = [f"i{n}" for n in range(100)]
    texts = [f"t{n % 20}" for n in range(100)]
    assert stopped(batch(items, texts), 0, min_distinct_texts=0.3) == ["distinct_texts"]
    assert stopped(batch(items, texts), 0, min_distinct_texts=0.2) == []


def test_shares_are_not_judged_in_a_small_batch() -> None:
    assert stopped(batch(["same"] * (MIN_ROWS - 1)), 0) == []
    assert stopped(batch(["same"] * MIN_ROWS), 0) == ["item_share", "distinct_texts"]


def test_a_batch_without_text_has_no_text_gate() -> None:
    frame = batch(["same"] * MIN_ROWS).drop("folded")
    found = gates(frame, np.zeros(MIN_ROWS, dtype=bool), InspectionSettings(), has_text=False)
    assert [gate.name for gate in found] == ["rejected_share", "item_share"]
