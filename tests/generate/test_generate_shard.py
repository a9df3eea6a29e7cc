"""A shard resumes: killed anywhere and run again it gives the samples of an unbroken one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from killed import generate_killed

from factories import NIGHT, commit, make_settings
from nightshift import contracts, stages
from nightshift.errors import LakeError, UsageError
from nightshift.generate.strategies.text_neighbours import TextNeighbours
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import STAGES, Ran

SHARD = "text_neighbours-000"
RunAll = Callable[[Settings], dict[str, Ran]]
MANY_CHUNKS = {
    "generate": {"strategies": ["text_neighbours"], "chunk_targets": 1, "budget": {"samples": 3000}}
}
STRATEGY = "nightshift.generate.strategies.text_neighbours:TextNeighbours"


def chunk_files(lake: Lake) -> dict[str, int]:
    """Finished chunks and when they were written."""
    found = Path(lake.root.removeprefix("file://")).glob("chunks/*/*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in found}


def samples_of(lake: Lake, ran: Ran) -> pl.DataFrame:
    return lake.read(ran.manifest, "samples.parquet")


def test_samples_are_whole(lake: Lake, settings: Settings, run_all: RunAll) -> None:
    done = run_all(settings)
    for name in done["plan"].manifest.stats["shards"]:
        samples, stats = samples_of(lake, done[name]), done[name].manifest.stats
        assert samples.to_arrow().cast(contracts.SAMPLES).schema == contracts.SAMPLES
        assert stats["made"] == samples.height > 0
        assert samples["sample_id"].is_unique().all()
        assert samples["night"].unique().to_list() == [NIGHT.key]
        assert samples["shard"].unique().to_list() == [name]
        assert samples["strategy"].unique().to_list() == [stats["strategy"]]
        for lineage in samples["lineage"]:
            assert {"version", "seed", "sources"} <= json.loads(lineage).keys()


@pytest.mark.parametrize(
    ("place", "calls", "finished"),
    [
        (f"{STRATEGY}.generate", 1, 0),
        (f"{STRATEGY}._draw", 5, 4),
        ("nightshift.generate.shard:store_chunk", 4, 3),
        ("nightshift.lake:Lake.commit", 1, None),  # all chunks are there, the manifest is not
    ],
)
def test_killed_and_run_again_is_the_same_as_unbroken(
    home: Path, settings: Settings, place: str, calls: int, finished: int | None
) -> None:
    settings = settings.with_(MANY_CHUNKS)
    lake = Lake.of(settings)
    plan = stages.run("plan", NIGHT, settings).manifest
    total = lake.read(plan, "targets.parquet")["chunk"].n_unique()
    status = generate_killed(home, MANY_CHUNKS, SHARD, place, calls)
    assert status == -signal.SIGKILL
    before = chunk_files(lake)
    assert len(before) == (total if finished is None else finished)
    assert total > 20
    assert lake.find("shard", f"night={NIGHT.key}/shard={SHARD}") is None

    resumed = stages.run("generate", NIGHT, settings, {"shard": SHARD})

    after = chunk_files(lake)
    assert {name: after[name] for name in before} == before  # nothing was made twice
    assert len(after) == total
    for name in after:
        lake.delete(f"chunks/{name[:2]}/{name}")
    unbroken = stages.run("generate", NIGHT, settings, {"shard": SHARD}, force=True)
    assert unbroken.manifest.digest == resumed.manifest.digest
    assert unbroken.manifest.rows > 1000


def test_a_second_lake_gives_the_same_digests(
    home: Path, settings: Settings, run_all: RunAll, small_home: Path, tmp_path: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(small_home, other)
    first = run_all(settings)
    second = run_all(make_settings(other).with_({"generate": settings.generate.model_dump()}))
    assert {k: r.manifest.digest for k, r in first.items()} == {
        k: r.manifest.digest for k, r in second.items()
    }


def test_another_night_with_the_same_content_pays_for_no_chunk(
    lake: Lake, settings: Settings, run_all: RunAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.with_({"generate": {"strategies": ["text_neighbours"]}})
    first = run_all(settings)
    # The plan anew under another key: the pointer moves, the chunks are what they were.
    changed = settings.with_({"generate": {"max_shards": 50}})

    def refuse(self: TextNeighbours, targets: pl.DataFrame) -> None:
        raise AssertionError("a chunk was made again")

    monkeypatch.setattr(TextNeighbours, "generate", refuse)
    second = run_all(changed)
    assert second[SHARD].worked
    assert samples_of(lake, second[SHARD]).equals(samples_of(lake, first[SHARD]))


def test_the_seed_makes_other_samples(lake: Lake, settings: Settings, run_all: RunAll) -> None:
    first = samples_of(lake, run_all(settings)[SHARD])
    seeded = run_all(settings.with_({"generate": {"seed": 1}}))[SHARD]
    assert seeded.manifest.seeds == {"generate": 1}
    common = set(first["sample_id"]) & set(samples_of(lake, seeded)["sample_id"])
    assert len(common) < 0.9 * first.height


def test_a_broken_chunk_is_named(lake: Lake, settings: Settings, run_all: RunAll) -> None:
    settings = settings.with_({"generate": {"strategies": ["text_neighbours"]}})
    run_all(settings)
    name = min(chunk_files(lake))
    path = f"chunks/{name[:2]}/{name}"
    lake.write_bytes(path, (lake.read_bytes(path) or b"")[:50])
    with pytest.raises(LakeError, match="cannot be read") as error:
        stages.run("generate", NIGHT, settings, {"shard": SHARD}, force=True)
    assert error.value.context["file"] == path


def test_a_shard_that_is_not_planned_is_named(settings: Settings, run_all: RunAll) -> None:
    run_all(settings)
    with pytest.raises(UsageError, match="no shard 'gan-000'") as error:
        stages.run("generate", NIGHT, settings, {"shard": "gan-000"})
    assert SHARD in error.value.hint


def test_gather_puts_all_shards_together(lake: Lake, settings: Settings, run_all: RunAll) -> None:
    done = run_all(settings)
    manifest = done["gather"].manifest
    assert manifest.stats["failed"] == []
    assert manifest.stats["skipped"] is None
    names = done["plan"].manifest.stats["shards"]
    assert [entry.name for entry in manifest.files] == sorted(f"shards/{n}.parquet" for n in names)
    assert manifest.files[0].path.startswith("shard/")  # shared, not copied
    assert manifest.rows == sum(done[name].manifest.rows for name in names)
    assert sum(manifest.stats["made"].values()) == manifest.rows


def fake_plan(lake: Lake, settings: Settings, shards: list[str]) -> None:
    def run(ctx: stages.StageContext) -> dict[str, object]:
        ctx.writer.write_parquet("targets.parquet", contracts.TARGETS.empty_table())
        return {"shards": shards, "samples": {}}

    commit(lake, settings, NIGHT, STAGES["plan"], run)


def fake_shard(lake: Lake, settings: Settings, name: str) -> None:
    def run(ctx: stages.StageContext) -> dict[str, object]:
        ctx.writer.write_parquet("samples.parquet", contracts.SAMPLES.empty_table())
        return {"strategy": "text_neighbours", "made": 7, "dropped": {}, "tokens": 0}

    plan = lake.get("plan", f"night={NIGHT.key}")
    commit(lake, settings, NIGHT, STAGES["generate"], run, {"plan": plan}, {"shard": name})


@pytest.mark.parametrize(
    ("made", "skipped"),
    [
        (5, None),
        (4, None),
        (3, "2 of 5 shards are missing, the failure budget is 20%"),
        (0, "failed as a whole"),
    ],
)
def test_the_failure_budget(lake: Lake, settings: Settings, made: int, skipped: str | None) -> None:
    names = [f"text_neighbours-{i:03}" for i in range(5)]
    fake_plan(lake, settings, names)
    for name in names[:made]:
        fake_shard(lake, settings, name)
    manifest = stages.run("gather", NIGHT, settings).manifest
    assert manifest.stats["failed"] == names[made:]
    if skipped is None:
        assert manifest.stats["skipped"] is None
        assert manifest.stats["made"] == {"text_neighbours": 7 * made}
    else:
        assert skipped in manifest.stats["skipped"]
        assert manifest.stats["made"] == {}
        assert manifest.rows == 0
        assert lake.scan(manifest, "shards/").collect().is_empty()


def test_a_plan_without_shards_gathers_nothing_and_says_so(lake: Lake, settings: Settings) -> None:
    fake_plan(lake, settings, [])
    stats = stages.run("gather", NIGHT, settings).manifest.stats
    assert "no shard" in stats["skipped"]
    assert stats["failed"] == []
