"""What samples cost: by the price table, beside the estimate, per accepted sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT, make_settings
from made_up_nights import write_night
from nightshift import stages
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.report.costs import Spent, cost_figures, reasons_for_little, shard_costs
from nightshift.report.words import bill, money

PRICES = {
    "cpu_hour": 0.36,
    "gpu_hour": 3.6,
    "models": {"made-up": {"input": 1.0, "output": 10.0}},
    "currency": "EUR",
}
ESTIMATE = {
    "samples": 100,
    "prompt_tokens": 10_000,
    "tokens": 1000,
    "seconds": 50.0,
    "fit_seconds": 50.0,
    "model": "made-up",
}


def shard(**facts: Any) -> Manifest:
    run = {"seconds": 10.0, "making_seconds": 8.0, "chunks": 4, "found": 0, "gpu": False}
    stats = {"strategy": "llm", "tokens": 900, "prompt_tokens": 8000, "dropped": {"junk": 2}}
    for name, value in facts.items():
        (stats if name in ("stopped", "refused", "strategy") else run)[name] = value
    return Manifest(
        dataset="shard",
        partition=f"night=2017-05-20/shard={facts.get('shard', 'llm-000')}",
        key="k" * 64,
        digest="d",
        files=(),
        inputs={},
        settings_digest="",
        code_version="",
        stats=stats,
        seeds={},
        run=run,
    )


def test_tokens_and_hours_become_money(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).with_({"cost": PRICES})
    found = cost_figures(shard_costs([shard()])["llm"], ESTIMATE, 50, settings)

    by_tokens = 8000 * 1.0 / 1e6 + 900 * 10.0 / 1e6
    assert found["money"] == pytest.approx(by_tokens + 10 * 0.36 / 3600)
    assert found["money_per_accepted"] == pytest.approx(found["money"] / 50)
    assert found["gpu_hours"] == 0
    # Learning is part of the estimate: 100 seconds in all.
    assert found["estimate"]["money"] == pytest.approx(0.01 + 0.01 + 100 * 0.36 / 3600)


def test_hours_of_a_gpu_are_those_of_shards_that_had_one(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).with_({"cost": PRICES})
    spent = shard_costs([shard(seconds=3600.0, gpu=True)])["llm"]

    found = cost_figures(spent, ESTIMATE | {"model": None}, 0, settings)

    assert found["gpu_hours"] == 1.0
    assert found["money"] == pytest.approx(3.6)
    assert found["money_per_accepted"] is None


def test_a_shard_that_was_killed_and_went_on_is_told_whole() -> None:
    spent = shard_costs([shard(seconds=2.0, making_seconds=60.0, found=3)])["llm"]

    assert spent.seconds == 60.0
    assert (spent.chunks, spent.chunks_found) == (4, 3)


def test_learning_counts_once_and_waiting_for_it_not_at_all() -> None:
    fits = {"k": {"seconds": 100.0, "prompt_tokens": 40}}
    learnt = shard(seconds=112.0, making_seconds=8.0, fits=fits, fitting_seconds=101.0)
    waited = shard(seconds=110.0, making_seconds=8.0, fits=fits, fitting_seconds=99.0)

    spent = shard_costs([learnt, waited])["llm"]

    assert spent.seconds == 100.0 + 11.0 + 11.0
    assert spent.learning_seconds == 100.0
    assert spent.prompt_tokens == 2 * 8000 + 40
    # Another night finds the chunks, and what they were made with.
    found = shard(seconds=0.5, making_seconds=8.0, fits=fits, fitting_seconds=0.0, found=4)
    assert shard_costs([found])["llm"].seconds == 108.0


def test_why_there_is_little_is_said() -> None:
    spent = Spent()
    spent.add(shard(shard="llm-001", stopped="budget: tokens, after 1 of 4 chunks"))
    spent.add(shard(shard="llm-002", refused="its judgement is chance"))
    cut = [{"strategy": "gan", "why": "seconds"}]

    assert reasons_for_little("llm", spent=spent, lost={}, cut=cut, planned=9) == [
        "refused: its judgement is chance",
        "stopped: llm-001 (budget: tokens, after 1 of 4 chunks)",
    ]
    assert reasons_for_little("gan", spent=None, lost={}, cut=cut, planned=0) == [
        "no seconds left in the budget"
    ]
    assert reasons_for_little("vae", spent=None, lost={"vae": "3 of 3"}, cut=cut, planned=9) == [
        "lost: 3 of 3"
    ]


def test_the_page_shows_estimate_cost_and_who_could_not_work(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).with_({"cost": PRICES})
    lake = Lake.of(settings)
    write_night(lake, settings, NIGHT)

    stages.run("report", NIGHT, settings)

    report = lake.get("report", f"night={NIGHT.key}")
    samples = lake.read_json(report, "report.json")["samples"]
    page = lake.local_path(report.file("index.html")).read_text()
    assert samples["cost"]["estimate"]["money"] == pytest.approx(
        6000 / 1e6 + 960 * 10 / 1e6 + 6.0 * 0.36 / 3600, abs=1e-5
    )
    assert samples["cost"]["spent"]["tokens"] == 1200
    assert samples["cost"]["per_accepted"]["tokens"] == pytest.approx(1200 / 553)
    assert "llm reviews (the shop has no reviews)" in page.replace("LLM", "llm")
    assert "0.0162 EUR" in page
    assert "4 of 16 chunks were in the lake already, and 9 answers had been paid for" in page


def test_a_bill_leaves_out_what_is_not_there() -> None:
    assert bill({"seconds": None, "tokens": 0, "money": None}, "USD") == ["–"]
    assert bill({"seconds": 0.012, "tokens": 29.27}, "USD") == ["12 ms", "29.3 tokens"]
    assert [money(amount) for amount in (0.0, 0.00123, 12.3)] == ["0.00", "0.00123", "12.30"]
