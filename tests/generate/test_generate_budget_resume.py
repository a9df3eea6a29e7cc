"""A process is killed while a strategy learns, after it, or with a chunk made and not kept."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import budget_strategies
import numpy as np
import pytest
from killed import generate_killed

from factories import NIGHT
from nightshift import stages
from nightshift.generate.fits import Learning, Tensors
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.report.costs import shard_costs
from nightshift.settings import Settings

SHARD = "learner-000"
LEARNER = {
    "generate": {"strategies": ["learner"], "chunk_targets": 8, "shard_targets": 1000},
    "night": {"wait_seconds": 20},
}


@pytest.mark.parametrize(
    ("place", "calls", "fits", "chunks"),
    [
        # In the middle of learning, the lease of the fit held: it is learnt anew.
        ("numpy.random:default_rng", 1, 2, 0),
        # Learnt and in the lake, no chunk begun.
        ("budget_strategies:Learner.generate", 1, 1, 0),
        # Answers are there, the chunk they make is not kept yet: that one is made twice.
        ("nightshift.generate.shard:store_chunk", 6, 1, 5),
        # All chunks are there, the dataset is not.
        ("nightshift.lake:Lake.commit", 1, 1, None),
    ],
)
def test_killed_and_run_again_is_the_same_as_unbroken(
    home: Path,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    calls: int,
    fits: int,
    chunks: int | None,
) -> None:
    budget_strategies.install(monkeypatch)
    trace = tmp_path / "trace"
    monkeypatch.setenv(budget_strategies.TRACE, str(trace))
    settings = settings.with_(LEARNER)
    lake = Lake.of(settings)
    plan = stages.run("plan", NIGHT, settings).manifest
    total = lake.read(plan, "targets.parquet")["chunk"].n_unique()
    assert total > 20
    status = generate_killed(home, LEARNER, SHARD, place, calls)
    assert status == -signal.SIGKILL
    assert len(list(lake.stored("chunks"))) == (total if chunks is None else chunks)

    resumed = stages.run("generate", NIGHT, settings, {"shard": SHARD}).manifest

    words = trace.read_text().split("\n")
    assert words.count("fit learner") == fits
    assert total <= words.count("chunk learner") <= total + 1  # one chunk done twice at most
    for folder in ("chunks", "fits"):
        for one in list(lake.stored(folder)):
            lake.delete(one.path)
    unbroken = stages.run("generate", NIGHT, settings, {"shard": SHARD}, force=True).manifest
    assert unbroken.digest == resumed.digest
    assert unbroken.rows > 200


def test_a_second_shard_finds_what_the_first_has_learnt(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_strategies.install(monkeypatch)
    monkeypatch.setenv(budget_strategies.TRACE, str(tmp_path / "trace"))
    settings = settings.with_(LEARNER).with_({"generate": {"shard_targets": 100}})
    shards = stages.run("plan", NIGHT, settings).manifest.stats["shards"]
    assert len(shards) > 2

    for shard in shards:
        stages.run("generate", NIGHT, settings, {"shard": shard})

    assert (tmp_path / "trace").read_text().count("fit learner") == 1


def test_learning_is_counted_once_whoever_learnt_and_whoever_found_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_strategies.install(monkeypatch)
    monkeypatch.setattr(budget_strategies.Learner, "lesson", 1.5)
    settings = settings.with_(LEARNER).with_({"generate": {"shard_targets": 100}})
    shards = stages.run("plan", NIGHT, settings).manifest.stats["shards"]

    def run_all(**options: bool) -> list[Manifest]:
        return [
            stages.run("generate", NIGHT, settings, {"shard": shard}, **options).manifest
            for shard in shards
        ]

    started = time.monotonic()
    made = run_all()
    wall = time.monotonic() - started
    found = run_all(force=True)

    assert len(made) > 2
    first = shard_costs(made)["learner"]
    assert 1.5 <= first.learning_seconds < 3.0 <= 1.5 * len(made)
    # Counted again for each shard it would be more than went by on the wall, however busy that is.
    assert first.learning_seconds < first.seconds <= wall
    assert first.prompt_tokens == 500
    # The second time nothing was learnt or made, and it has cost what it cost.
    again = shard_costs(found)["learner"]
    assert (again.learning_seconds, again.prompt_tokens) == (first.learning_seconds, 500)
    assert again.seconds > 1.5
    # What it took is a fact of the run, not of the samples.
    assert [one.digest for one in found] == [one.digest for one in made]
    assert all("fits" not in one.stats for one in made)


def test_what_one_fit_learns_inside_another_is_not_counted_twice(lake: Lake) -> None:
    learning = Learning()

    def topics() -> Tensors:
        time.sleep(0.4)
        return {"topics": np.zeros(2)}

    def network() -> Tensors:
        learning.fitted(lake, "net", "inner", topics, 5.0)
        time.sleep(0.1)
        return {"table": np.ones(2)}

    learning.fitted(lake, "net", "outer", network, 5.0)

    assert 0.4 <= learning.costs["inner"].seconds < 0.8
    assert 0.1 <= learning.costs["outer"].seconds < 0.4
    assert 0.5 <= learning.waited < 1.5
    other = Learning()
    other.fitted(lake, "net", "inner", topics, 5.0)
    assert other.costs == {"inner": learning.costs["inner"]}
    assert other.waited < 0.4
