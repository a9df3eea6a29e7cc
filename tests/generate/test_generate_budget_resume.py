"""A process is killed while a strategy learns, after it, or with a chunk made and not kept."""

from __future__ import annotations

import signal
from pathlib import Path

import budget_strategies
import pytest
from killed import generate_killed

from factories import NIGHT
from nightshift import stages
from nightshift.lake import Lake
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
