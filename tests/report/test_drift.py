"""Drift: shares per band, and the distance between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from factories import NIGHT, make_settings, write_snapshot
from nightshift.lake import Lake
from nightshift.report.drift import AGE_BANDS, NEVER, OLDEST, _band, drift_figures, jensen_shannon
from nightshift.snapshot import Snapshot


def test_jensen_shannon_of_equal_and_of_disjoint_distributions() -> None:
    half, other = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.5, 0.5])

    assert jensen_shannon(half, half) == 0
    assert jensen_shannon(half, other) == pytest.approx(1)
    # Lin (1991): by hand for (1, 0) against (1/2, 1/2).
    expected = 0.5 * (np.log2(4 / 3) + 0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(expected)


def test_bands_take_their_upper_end_and_null_is_the_last() -> None:
    days = pl.Series([0.0, 7.0, 7.1, 28.0, 364.0, 366.0, None])

    assert _band(days, AGE_BANDS, OLDEST).to_list() == [
        "under a week",
        "under a week",
        "1–4 weeks",
        "1–4 weeks",
        "3–12 months",
        OLDEST,
        OLDEST,
    ]


def test_shares_of_a_real_morning_add_up_to_one_on_both_sides(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    lake = Lake.of(settings)
    snapshot = write_snapshot(lake, settings)
    morning = write_snapshot(lake, settings, part="morning")

    drift = drift_figures(lake, Snapshot(lake, snapshot), morning, NIGHT)

    events = lake.read(morning, "events.parquet").height
    assert drift["after"]["events"] == events
    for part in ("categories", "popularity", "ages"):
        for side in ("before", "after"):
            total = sum(band[side] for band in drift[part]["bands"])
            assert total == pytest.approx(1, abs=1e-4)
        assert 0 <= drift[part]["jensen_shannon"] <= 1
    # Withheld items have no event before the night: they are what nobody had bought.
    never = next(b for b in drift["popularity"]["bands"] if b["band"] == NEVER)
    items = Snapshot(lake, snapshot).items.filter("withheld")["item_id"]
    after = lake.read(morning, "events.parquet")
    withheld = after.filter(pl.col("item_id").is_in(items.implode())).height / after.height
    assert never["after"] >= withheld - 1e-6 > 0


def test_an_empty_morning_is_skipped_with_its_reason(tmp_path: Path) -> None:
    from datetime import timedelta

    from nightshift.night import Night

    settings = make_settings(tmp_path)
    lake = Lake.of(settings)
    snapshot = write_snapshot(lake, settings, households=40, n_items=150)
    instant = Night(NIGHT.start, NIGHT.start + timedelta(microseconds=1))
    morning = write_snapshot(lake, settings, instant, households=40, n_items=150, part="morning")

    drift = drift_figures(lake, Snapshot(lake, snapshot), morning, instant)

    assert drift == {"skipped": "there are no events in the morning after"}
