"""`nightshift plan` shows the estimate; `nightshift generate --strategies` makes it all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT, make_settings, write_snapshot, write_vectors
from nightshift import stages
from nightshift.cli import main
from nightshift.errors import EngineError
from nightshift.generate.strategies import strategy_names
from nightshift.generate.strategies.negatives import Negatives
from nightshift.lake import Lake
from nightshift.settings import Settings

MODELS = {"text_neighbours", "negatives"}
AT = ["--night", NIGHT.key, "--set", "generate.budget.samples=3000"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small real shop with its vectors, and a process that works there."""
    settings = make_settings(tmp_path)
    lake = Lake.of(settings)
    write_vectors(lake, settings, write_snapshot(lake, settings, households=60, n_items=200))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__DEVICE", "cpu")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE__THREADS", "1")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, Any]:
    """What a command prints, and the JSON of its last line."""
    assert main(list(arguments)) == 0
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])


def row(out: str, name: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(name))


def test_a_dry_run_shows_the_estimate_and_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake.of(Settings.load())
    before = lake.names("")

    out, result = said(
        capsys, "plan", *AT, "--strategies", "all", "--dry-run", "--set", "cost.cpu_hour=0.5"
    )

    assert lake.names("") == before
    assert set(result["estimate"]) | set(result["lacking"]) == set(strategy_names())
    neighbours = result["estimate"]["text_neighbours"]
    assert neighbours["samples"] > 0
    assert neighbours["money"] == pytest.approx(neighbours["samples"] * 2e-4 / 3600 * 0.5, abs=2e-6)
    assert "its own word" in row(out, "text_neighbours")
    assert "USD" in row(out, "strategy")
    assert result["budget"]["samples"] == 3000


def test_a_dry_run_says_what_a_night_that_tunes_costs_on_top(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = ["--set", "generate.budget.seconds=600", "--set", "generate.budget.tokens=9000"]
    share = ["--set", "tune.budget_share=0.4"]
    on_top = "makes the samples of an inner night on top: at most"

    plain = ("plan", *AT, *budget, *share, "--dry-run", "--strategies")
    out, result = said(capsys, *plain, "negatives,llm_queries")
    assert f"{on_top} 4 min 00 s\n" in out  # queries are not tuned: no language model is asked
    assert result["tuning"]["strategies"] == ["negatives"]

    out, result = said(capsys, *plain, "negatives,llm_reviews")
    assert f"{on_top} 3,600 tokens, 4 min 00 s\n" in out
    assert result["tuning"]["tokens"] == 3600

    out, result = said(capsys, *plain, "llm_queries")
    assert on_top not in out
    assert result["tuning"] is None


def test_a_plan_prints_the_table_before_its_result(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = said(capsys, "plan", *AT, "--strategies", "negatives,text_neighbours")

    assert result["dataset"] == "plan"
    assert "USD" not in out  # no price, no money
    assert "GPU-h" not in out
    assert row(out, "budget: 3,000 samples")
    assert said(capsys, "plan", *AT, "--strategies", "negatives,text_neighbours")[1]["worked"] is (
        False
    )


def test_generate_plans_makes_gathers_inspects_and_tells(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "plan", *AT, "--strategies", "negatives")  # tonight's plan is another's

    out, results = said(
        capsys, "generate", *AT, "--strategies", "text_neighbours,negatives", "--inspect"
    )

    assert [one["stage"] for one in results] == [
        "plan",
        "generate",
        "generate",
        "gather",
        "inspect",
    ]
    assert all(one["worked"] for one in results)
    table = out.partition("accepted")[2]
    lake = Lake.of(Settings.load())
    night = f"night={NIGHT.key}"
    accepted = lake.get("inspection", night).stats["accepted"]
    for name in MODELS:
        cells = row(table, name).split()
        assert cells[3] == f"{accepted[name]:,}"
    again = said(capsys, "generate", *AT, "--strategies", "text_neighbours,negatives", "--inspect")
    assert not any(one["worked"] for one in again[1])
    # From now on the lake knows what a sample takes.
    shown, _ = said(capsys, "plan", *AT, "--strategies", "negatives", "--dry-run")
    assert "1 shard" in row(shown, "negatives")


def test_a_strategy_that_fails_does_not_end_the_others(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: object, targets: object) -> None:
        raise EngineError("The engine died.", hint="run again")

    monkeypatch.setattr(Negatives, "generate", die)

    out, results = said(
        capsys, "generate", *AT, "--strategies", "text_neighbours,negatives", "--inspect"
    )

    assert [one["stage"] for one in results] == ["plan", "generate", "gather", "inspect"]
    assert "negatives: lost: 1 of 1 shards are missing" in out
    assert "negatives: shard negatives-000 failed: The engine died." in out
    table = out.partition("accepted")[2]
    assert int(row(table, "text_neighbours").split()[3].replace(",", "")) > 0
    assert row(table, "negatives").split()[2] == "0"


def test_why_a_strategy_did_nothing_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Negatives, "missing", lambda self: "the shop has no customers")

    out, _ = said(
        capsys,
        "generate",
        *AT,
        "--strategies",
        "text_neighbours,negatives,llm_queries",
        "--set",
        "generate.budget.tokens=0",
    )

    assert "negatives: cannot work here: the shop has no customers" in out
    assert "llm_queries: no tokens left in the budget" in out


@pytest.mark.parametrize("names", ["gan", "negatives,gan", "", ","])
def test_an_unknown_strategy_is_an_error_that_lists_them(
    home: Path, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    assert main(["plan", *AT, "--strategies", names]) == 2

    said = capsys.readouterr().err
    assert "There is no strategy" in said
    assert "text_neighbours" in said


def test_all_is_every_strategy_wherever_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load({"generate": {"strategies": ["all"]}}).generate.strategies == tuple(
        strategy_names()
    )
    monkeypatch.setenv("NIGHTSHIFT_GENERATE__STRATEGIES", '["all"]')
    assert Settings.load().generate.strategies == tuple(strategy_names())


def test_the_names_cost_no_heavy_import() -> None:
    import subprocess

    code = (
        "import sys; from nightshift.settings import Settings;"
        "Settings.load({'generate': {'strategies': ['all']}});"
        "print([m for m in ('polars', 'pyarrow', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_shards_that_are_asked_for_alone_stay_as_they_were(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.load({"generate": {"strategies": ["negatives"]}})
    stages.run("plan", NIGHT, settings)

    out, result = said(
        capsys,
        "generate",
        "--night",
        NIGHT.key,
        "--strategies",
        "negatives",
        "--shard",
        "negatives-000",
    )

    assert result["partition"].endswith("shard=negatives-000")
    assert len(out.splitlines()) == 1
