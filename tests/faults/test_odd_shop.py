"""A shop whose ids and texts are as odd as they may be goes through a whole night."""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.nights import run_night
from nightshift.settings import Settings
from nightshift.store.engine import begin
from nightshift.store.loaders import load

NIGHT = Night.parse("2024-03-01")
ODD = [
    "a,b", 'say "hi"', "tab\there", "line\nbreak", "semi;colon", "back\\slash", "per%cent", "%s",
    "{brace}", "$1", "'; drop table nightshift.items; --", "../../etc/passwd", "NULL", r"\N", "nan",
    "0", "1e9", " leading", "ünïcödé", "日本語", "🛒🔥", "\u202eright to left", "zero\u200bwidth",
    "<b>bold</b>", "a=b&c=d", "night=2024-03-01", "x" * 300, "İstanbul", "ﬁ", "Ａ",
]  # fmt: skip
"""Each is an item's id, a user's id, and part of a title."""
SMALL: dict[str, Any] = {
    "compute": {"threads": 1, "device": "cpu"},
    "night": {"first": NIGHT.start.isoformat()},
    "generate": {"strategies": ["text_neighbours", "negatives"], "budget": {"samples": 200}},
    "finetune": {
        "model": {"dim": 8, "layers": 1, "heads": 1, "max_length": 8, "features": 8},
        "first_steps": 5, "batch": 8, "negatives": 8, "query_steps": 2, "refresh_passes": 1,
    },
    "tune": {"steps": 5, "weights": [0.1], "scopes": ["all"], "betas": [0.0]},
    "evaluate": {"resamples": 100, "min_users": 2},
}  # fmt: skip


@pytest.fixture
def odd_shop(settings: Settings, tmp_path: Path) -> Settings:
    rng = random.Random(0)
    items = [{"item_id": odd, "title": f"{odd} lamp {i}"} for i, odd in enumerate(ODD)]
    items += [
        {"item_id": "megabyte", "title": "lamp " * 200_000},
        {"item_id": "no words", "title": " \t\n "},
        {"item_id": "no title", "title": ""},
    ]
    start = datetime(2024, 1, 10, tzinfo=UTC)
    events = [
        {
            "user_id": user,
            "item_id": rng.choice(items)["item_id"],
            "kind": "purchase",
            "occurred_at": (start + timedelta(minutes=rng.randrange(52 * 24 * 60))).isoformat(),
        }
        for user in ODD
        for _ in range(25)
    ]
    for name, rows in (("items", items), ("events", events)):
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        (tmp_path / f"{name}.csv").write_text(out.getvalue())
    load("files", settings, items=tmp_path / "items.csv", events=tmp_path / "events.csv")
    return settings.with_(SMALL)


def test_odd_ids_and_texts_go_through_a_whole_night(odd_shop: Settings):
    done = run_night(NIGHT, odd_shop, told=lambda ran: None)

    lake = Lake.of(odd_shop)
    found = {ran.stage: ran.manifest for ran in done}
    items = lake.read(found["collect"], "items.parquet")
    assert found["collect"].stats["users"] == len(ODD)
    assert items.height == len(ODD) + 3
    assert items["text"].str.len_chars().max() <= odd_shop.collect.max_text_chars
    assert found["morning"].stats["events"] > 0
    with begin(odd_shop) as connection:
        rows = connection.execute(
            text("select user_id, item_id from nightshift.recommendations")
        ).all()
    assert {row.user_id for row in rows} == {odd.strip() for odd in ODD}
    assert {row.item_id for row in rows} <= set(items["item_id"])
    page = lake.local_path(found["report"].file("index.html")).read_text()
    assert "<b>bold</b>" not in page
    scored = lake.read(found["score"], "recommendations.parquet")
    assert scored["user_key"].n_unique() == len(ODD)
    assert not set(scored["user_key"]) & set(ODD)
    assert scored.select(pl.col("score").is_finite().all()).item()
