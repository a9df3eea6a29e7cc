"""How a stage is run: its key, when there is nothing to do, its parent, its errors."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import factories
from factories import commit, make_settings, write_snapshot
from nightshift import stages
from nightshift.errors import (
    BadInput,
    DatasetMissing,
    DiskFull,
    LakeError,
    NightshiftError,
    ParentMissing,
    StageFailed,
    UsageError,
)
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES, Input, Stage, StageContext, key_of, parent_state

NIGHT = Night.parse("2017-11-20")
Run = Callable[[StageContext], dict[str, Any]]


def night(number: int) -> Night:
    day = timedelta(days=number)
    return Night(NIGHT.start + day, NIGHT.end + day)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({"home": str(tmp_path), "night": {"first": NIGHT.start.isoformat()}})


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.of(settings)


class Works:
    """Counts how often the made-up stage worked; `fail` is what it raises."""

    def __init__(self) -> None:
        self.times = 0
        self.fail: Exception | None = None

    def __call__(self, ctx: StageContext) -> dict[str, Any]:
        self.times += 1
        ctx.writer.write_json("a.json", [ctx.settings.score.top_n, self.times])
        if self.fail is not None:
            raise self.fail
        ctx.seeds["a"] = 1
        return {"rows": 1}


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    """A stage `made` that reads `source` and the settings of `score`."""
    works = Works()
    module = type(sys)("made_stage")
    module.run = works  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_stage", module)
    source = Stage("source", "source", "made_stage", "where it begins")
    made = Stage("made", "made", "made_stage", "counts", ("score",), (Input("source"),))
    monkeypatch.setitem(STAGES, "source", source)
    monkeypatch.setitem(STAGES, "made", made)
    return works


def source(lake: Lake, settings: Settings, value: int = 0) -> Manifest:
    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json("value.json", value)
        return {"value": value}

    return commit(lake, settings.with_({"score": {}}), NIGHT, STAGES["source"], run)


# --- the key ----------------------------------------------------------------------------------


def test_the_second_time_there_is_nothing_to_do(lake: Lake, settings: Settings, works: Works):
    source(lake, settings)
    first = stages.run("made", NIGHT, settings)
    again = stages.run("made", NIGHT, settings)

    assert first.worked
    assert not again.worked
    assert again.manifest == first.manifest
    assert works.times == 1
    assert first.manifest.seeds == {"a": 1}
    assert first.manifest.inputs["source"] == lake.get("source", "night=2017-11-20").ref


def test_what_belongs_to_the_key_and_what_does_not(lake: Lake, settings: Settings, works: Works):
    source(lake, settings)
    first = stages.run("made", NIGHT, settings).manifest

    for unrelated in (
        {"evaluate": {"resamples": 500}},
        {"finetune": {"batch": 7}},
        {"compute": {"threads": 3}},
        {"night": {"wait_seconds": 1}},
        {"lake": {"options": {"auto_mkdir": True}}},
    ):
        assert not stages.run("made", NIGHT, settings.with_(unrelated)).worked
    other = stages.run("made", NIGHT, settings.with_({"score": {"top_n": 3}}))
    assert other.worked
    assert other.manifest.key != first.key

    source(lake, settings, value=1)
    stages.run("source", NIGHT, settings, force=True)
    moved = stages.run("made", NIGHT, settings)
    assert moved.worked
    assert moved.manifest.key not in {first.key, other.manifest.key}


def test_a_new_version_is_another_key(
    lake: Lake, settings: Settings, works: Works, monkeypatch: pytest.MonkeyPatch
):
    source(lake, settings)
    stages.run("made", NIGHT, settings)
    old = STAGES["made"]
    newer = Stage(
        old.name, old.dataset, old.module, old.title, old.sections, old.inputs, version="2"
    )
    monkeypatch.setitem(STAGES, "made", newer)
    assert stages.run("made", NIGHT, settings).worked


def test_what_lies_outside_the_lake_is_part_of_the_key(
    lake: Lake, settings: Settings, works: Works, monkeypatch: pytest.MonkeyPatch
):
    outside = {"rows": 1}
    module = type(sys)("outside")
    module.look = lambda night, settings: outside  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside", module)
    stage = Stage("made", "made", "made_stage", "counts", fingerprint="outside:look")
    monkeypatch.setitem(STAGES, "made", stage)

    assert stages.run("made", NIGHT, settings).worked
    assert not stages.run("made", NIGHT, settings).worked
    outside["rows"] = 2
    assert stages.run("made", NIGHT, settings).worked


def test_back_to_earlier_settings_moves_the_pointer_back_without_work(
    lake: Lake, settings: Settings, works: Works
):
    source(lake, settings)
    first = stages.run("made", NIGHT, settings).manifest
    second = stages.run("made", NIGHT, settings.with_({"score": {"top_n": 3}})).manifest
    assert lake.get("made", "night=2017-11-20") == second

    assert not stages.run("made", NIGHT, settings).worked
    assert lake.get("made", "night=2017-11-20") == first


def test_force_makes_it_anew(lake: Lake, settings: Settings, works: Works):
    source(lake, settings)
    first = stages.run("made", NIGHT, settings).manifest
    forced = stages.run("made", NIGHT, settings, force=True)
    assert forced.worked
    assert forced.manifest.key == first.key
    assert lake.read_json(lake.get("made", "night=2017-11-20"), "a.json") == [20, 2]


@pytest.mark.parametrize("name", [n for n, stage in STAGES.items() if stage.fingerprint is None])
def test_every_section_of_every_stage_changes_its_key(name: str, settings: Settings):
    stage = STAGES[name]
    parts = dict.fromkeys(stage.parts, "0")
    before = key_of(stage, NIGHT, settings, {}, parts)
    for section in stage.sections:
        path = SAMPLE_CHANGES[section]
        changed = settings.with_(path)
        assert key_of(stage, NIGHT, changed, {}, parts) != before, f"{name}: {section}"
    assert key_of(stage, night(1), settings, {}, parts) != before
    for part in stage.parts:
        assert key_of(stage, NIGHT, settings, {}, parts | {part: "1"}) != before
    # Where things lie and what is only shown is nobody's business.
    for place in (
        {"home": "elsewhere"},
        {"lake": {"root": "file:///x"}},
        {"night": {"first": None}},
    ):
        assert key_of(stage, NIGHT, settings.with_(place), {}, parts) == before


SAMPLE_CHANGES: dict[str, dict[str, Any]] = {
    "blend": {"blend": {"ttl_days": 3}},
    "collect": {"collect": {"tie_seed": 8}},
    "compute.precision": {"compute": {"precision": "bfloat16"}},
    "compute.processes": {"compute": {"processes": 3}},
    "compute.threads": {"compute": {"threads": 7}},
    "evaluate": {"evaluate": {"resamples": 200}},
    "finetune": {"finetune": {"model": {"dim": 16}}},
    "finetune.seeds": {"finetune": {"seeds": [5]}},
    "generate": {"generate": {"text_neighbours": {"neighbours": 3}}},
    "generate.failure_budget": {"generate": {"failure_budget": 0.5}},
    "generate.lost_strategies": {"generate": {"lost_strategies": 0.4}},
    "generate.tail_events": {"generate": {"tail_events": 2}},
    "inspection": {"inspection": {"max_query_chars": 20}},
    "score": {"score": {"top_n": 3}},
    "shop": {"shop": {"repeats": True}},
    "text": {"text": {"max_tokens": 32}},
    "tune": {"tune": {"steps": 9}},
}


def test_nothing_heavy_is_imported_when_there_is_nothing_to_do(tmp_path: Path):
    settings = make_settings(tmp_path)
    write_snapshot(Lake.of(settings), settings, households=20, n_items=40)
    stages.run("embed", factories.NIGHT, settings)
    code = (
        "import json, sys\n"
        "from nightshift.cli import main\n"
        f"assert main(['embed', '--night', '{factories.NIGHT.key}', '--first']) == 0\n"
        "heavy = ('torch', 'transformers', 'polars', 'pyarrow', 'pandas', 'great_expectations')\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    environment = os.environ | {
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_COMPUTE__THREADS": "1",
        "NIGHTSHIFT_COMPUTE__DEVICE": "cpu",
    }

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    result, heavy = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert result["worked"] is False
    assert heavy == []


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (BadInput("A column is missing.", hint="add it", column="x"), BadInput),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull),
        (OSError(errno.EIO, "Input/output error"), StageFailed),
        (ValueError("a\nlong " + "x" * 5000), StageFailed),
    ],
)
def test_a_stage_that_fails_leaves_no_dataset_and_says_where(
    lake: Lake, settings: Settings, works: Works, raised: Exception, expected: type[NightshiftError]
):
    source(lake, settings)
    works.fail = raised

    with pytest.raises(expected) as caught:
        stages.run("made", NIGHT, settings)

    assert caught.value.context["stage"] == "made"
    assert caught.value.context["night"] == "2017-11-20"
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    assert lake.find("made", "night=2017-11-20") is None
    assert list(lake.scratch.iterdir()) == []

    works.fail = None
    assert stages.run("made", NIGHT, settings).worked  # nothing is in its way


def test_a_failed_run_leaves_the_earlier_dataset_standing(
    lake: Lake, settings: Settings, works: Works
):
    source(lake, settings)
    first = stages.run("made", NIGHT, settings).manifest
    works.fail = ValueError("no")
    with pytest.raises(StageFailed):
        stages.run("made", NIGHT, settings.with_({"score": {"top_n": 3}}))
    assert lake.get("made", "night=2017-11-20") == first


def test_a_missing_input_names_the_stage_to_run(settings: Settings, works: Works):
    with pytest.raises(DatasetMissing, match="made needs the dataset 'source'") as caught:
        stages.run("made", NIGHT, settings)
    assert "nightshift source --night 2017-11-20" in caught.value.hint
    assert caught.value.exit_code == 12


def test_a_stage_without_stats_is_refused(lake: Lake, settings: Settings, works: Works):
    sys.modules["made_stage"].run = lambda ctx: None  # type: ignore[attr-defined]
    source(lake, settings)
    with pytest.raises(StageFailed, match="no stats"):
        stages.run("made", NIGHT, settings)
    assert lake.find("made", "night=2017-11-20") is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [("dream", {}), ("collect", {"shard": "a"}), ("finetune", {"arm": "control"})],
)
def test_stages_and_parts_that_do_not_exist(settings: Settings, name: str, parts: dict[str, str]):
    with pytest.raises(UsageError) as caught:
        stages.run(name, NIGHT, settings, parts)
    assert caught.value.hint


def test_an_altered_dataset_is_an_error_not_a_reason_to_work(
    lake: Lake, settings: Settings, works: Works
):
    source(lake, settings)
    made = stages.run("made", NIGHT, settings).manifest
    lake.write_bytes(f"{made.folder}/_manifest.json", made.to_json().replace(b'"a": 1', b'"a": 2'))
    with pytest.raises(LakeError, match="altered") as caught:
        stages.run("made", NIGHT, settings)
    assert caught.value.context["dataset"] == made.folder


# --- the parent state -------------------------------------------------------------------------


def state(lake: Lake, settings: Settings, of: Night) -> Manifest:
    return commit(lake, settings, of, STAGES["refresh"], lambda ctx: {"night": of.key})


def test_the_first_night_has_no_parent_even_when_a_state_is_there(lake: Lake, settings: Settings):
    assert parent_state(lake, NIGHT, settings) is None
    state(lake, settings, night(-1))
    assert parent_state(lake, NIGHT, settings) is None


def test_the_parent_is_the_state_that_ends_at_the_start(lake: Lake, settings: Settings):
    made = {number: state(lake, settings, night(number)) for number in (0, 1, 2)}
    for number in (0, 1):
        assert parent_state(lake, night(number + 1), settings) == made[number]


@pytest.mark.parametrize("made", [(), (0,), (0, 2)])
def test_a_gap_is_an_error_that_says_the_ways_out(
    lake: Lake, settings: Settings, made: tuple[int, ...]
):
    for number in made:
        state(lake, settings, night(number))
    with pytest.raises(ParentMissing, match="2017-11-22 00:00 UTC") as caught:
        parent_state(lake, night(2), settings)
    assert caught.value.exit_code == 40
    assert "on_gap=learn" in caught.value.hint
    assert "--first" in caught.value.hint


def test_a_gap_is_learnt_from_the_last_state_before_it(lake: Lake, settings: Settings):
    learn = settings.with_({"night": {"on_gap": "learn"}})
    with pytest.raises(ParentMissing):
        parent_state(lake, night(4), learn)
    state(lake, settings, night(0))
    latest = state(lake, settings, night(1))
    state(lake, settings, night(5))  # later than the night: not for its eyes

    assert parent_state(lake, night(4), learn) == latest


def test_half_a_second_more_is_later_than_the_night(lake: Lake, settings: Settings):
    learn = settings.with_({"night": {"on_gap": "learn"}})
    whole = state(lake, settings, night(0))
    half = timedelta(microseconds=500_000)
    state(lake, settings, Night(night(1).start, night(1).end + half))

    seen = parent_state(lake, Night(night(2).start, night(2).end), learn)

    assert seen == whole
