"""The same question is paid for once, and what was remembered never changes what comes out."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from nightshift.errors import EngineError, LakeError
from nightshift.generate import responses
from nightshift.generate.engines.base import Engine, Generated, Interrupted, Sampling
from nightshift.generate.engines.cached import CachedEngine
from nightshift.generate.engines.repeats import generate_each
from nightshift.lake import Lake

HOSTILE = ["a\x00b", "{}\"';--", "🦔 ёж 針鼠 قنفذ", "x" * 100_000, ""]
WARM = Sampling(seed=5, per_prompt=2)


class Counting(Engine):
    """Answers with the prompt, the seed and who else was asked; counts what it is asked."""

    name = "counting"

    def __init__(self, *, own: bool = True, shapes: bool = True) -> None:
        self.asked: list[list[str]] = []
        self.scored: list[list[str]] = []
        self._own, self._shapes = own, shapes

    @property
    def identity(self) -> dict[str, Any]:
        return {"engine": "counting", "own": self._own}

    @property
    def model(self) -> dict[str, str]:
        return {"name": "counting", "digest": "0"}

    def independent(self, sampling: Sampling) -> bool:
        return self._own

    def constrains(self, sampling: Sampling) -> bool:
        return self._shapes and sampling.pattern is not None

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        self.asked.append(list(prompts))
        mates = "" if self._own else f" of {len(prompts)}"
        texts = [
            [f"{prefix}{p}/{sampling.seed}/{n}{mates}" for n in range(sampling.count)]
            for p in prompts
        ]
        parts = tuple((len(p), 10 + len(p)) for p in prompts)
        return Generated(texts, sum(t for t, _ in parts), sum(r for _, r in parts), tokens_of=parts)

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        self.scored.append(list(prompts))
        return np.array([-len(p) - len(c) / 7 for p, c in zip(prompts, continuations, strict=True)])


@pytest.fixture
def empty_lake(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)


def segments(lake: Lake) -> list[str]:
    return [one.path for one in lake.stored(responses.ROOT)]


def test_a_question_is_paid_for_once_also_by_another_process(empty_lake: Lake) -> None:
    first = Counting()
    there = CachedEngine(first, empty_lake).generate(["a", "b"], WARM, prefix="p ")
    second = Counting()
    again = CachedEngine(second, empty_lake)
    found = again.generate(["b", "c", "a", "c"], WARM, prefix="p ")
    assert second.asked == [["c"]]
    assert found.texts[0] == there.texts[1] == ["p b/5/0", "p b/5/1"]
    assert (there.cached, found.cached) == (0, 3)
    # What it took to make the answers, whether it was now or then.
    assert found == Generated(found.texts, 4, 44, 3, ((1, 11),) * 4)
    assert again.generate(["a"], WARM).texts == [["a/5/0", "a/5/1"]]  # another prefix
    for other in (Sampling(seed=6, per_prompt=2), Sampling(seed=5, per_prompt=2, pattern="x")):
        again.generate(["a"], other, prefix="p ")
    assert len(second.asked) == 4


def test_a_pattern_is_part_of_a_question_only_where_the_engine_keeps_to_it(
    empty_lake: Lake,
) -> None:
    shaped = Sampling(seed=5, per_prompt=2, pattern="x")
    for shapes, asked in ((False, 0), (True, 1)):
        CachedEngine(Counting(shapes=shapes), empty_lake).generate(["a"], WARM)
        engine = Counting(shapes=shapes)
        CachedEngine(engine, empty_lake).generate(["a"], shaped)
        assert len(engine.asked) == asked


def test_where_answers_depend_on_the_batch_only_the_whole_call_is_found(empty_lake: Lake) -> None:
    engine = Counting(own=False)
    cached = CachedEngine(engine, empty_lake)
    whole = cached.generate(["a", "b", "a"], WARM)
    part = cached.generate(["a", "b"], WARM)
    turned = cached.generate(["b", "a", "a"], WARM)
    assert len(engine.asked) == 3
    assert part.texts[0] == ["a/5/0 of 2", "a/5/1 of 2"] != whole.texts[0]
    fresh = Counting(own=False)
    again = CachedEngine(fresh, empty_lake)
    assert again.generate(["a", "b", "a"], WARM).texts == whole.texts
    assert again.generate(["b", "a", "a"], WARM).texts == turned.texts
    assert fresh.asked == []


def test_hostile_bytes_come_back_as_they_were(empty_lake: Lake) -> None:
    prompts = [*HOSTILE, "lone \ud800 surrogate"]
    made = CachedEngine(Counting(), empty_lake).generate(prompts, WARM)
    silent = Counting()
    found = CachedEngine(silent, empty_lake).generate(prompts, WARM)
    assert silent.asked == []
    assert found.texts == made.texts
    assert found.texts[2][1] == "🦔 ёж 針鼠 قنفذ/5/1"
    assert found.texts[5][0] == "lone ? surrogate/5/0"


def test_scores_are_remembered_too(empty_lake: Lake) -> None:
    scores = CachedEngine(Counting(), empty_lake).score(["a", "bb"], ["x", "yy"])
    engine = Counting()
    again = CachedEngine(engine, empty_lake).score(["bb", "a", "a"], ["yy", "x", "yy"])
    assert engine.scored == [["a"]]
    assert again.tolist() == [scores[1], scores[0], -1 - 2 / 7]


def test_many_segments_become_one_and_no_answer_is_lost(
    empty_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_MERGE_AT", 4)
    one, other = CachedEngine(Counting(), empty_lake), CachedEngine(Counting(), empty_lake)
    for number in range(10):
        (one if number % 2 else other).generate([f"q{number}"], WARM)
    assert len(segments(empty_lake)) < 4
    engine = Counting()
    found = CachedEngine(engine, empty_lake).generate([f"q{n}" for n in range(10)], WARM)
    assert engine.asked == []
    assert [texts[0] for texts in found.texts] == [f"q{n}/5/0" for n in range(10)]


class Watched(Lake):
    """Says what was read and written of it."""

    def __init__(self, home: Path) -> None:
        super().__init__((home / "lake").as_uri(), scratch=home)
        self.read: list[str] = []
        self.written = 0

    def read_bytes(self, path: str) -> bytes | None:
        self.read.append(path)
        return super().read_bytes(path)

    def write_bytes(self, path: str, data: bytes) -> None:
        self.written += pq.read_metadata(io.BytesIO(data)).num_rows
        super().write_bytes(path, data)


@pytest.fixture
def small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "_MERGE_AT", 4)
    monkeypatch.setattr(responses, "_SPLIT_ROWS", 32)


@pytest.mark.usefixtures("small_folders")
def test_neither_reading_nor_writing_nor_memory_grows_with_the_age_of_the_lake(
    tmp_path: Path,
) -> None:
    def night(number: int) -> CachedEngine:
        cached = CachedEngine(Counting(), Watched(tmp_path))
        for call in range(10):
            prompts = [f"{number} {call} {n}" for n in range(16)]
            cached.score(prompts, ["x"] * len(prompts))
        return cached

    def rows_read(prompt: str) -> int:
        lake = Watched(tmp_path)
        engine = Counting()
        CachedEngine(engine, lake).score([prompt], ["x"])
        assert engine.scored == []
        return sum(pq.read_metadata(tmp_path / "lake" / path).num_rows for path in lake.read)

    nights = [night(number) for number in range(12)]
    written = [cached._lake.written for cached in nights]
    assert max(written[6:]) < 1.6 * max(written[:6])
    held = [
        sum(
            table.num_rows
            for one in cached._responses._known.values()
            for table in one.segments.values()
        )
        for cached in nights
    ]
    assert held[-1] < 32 * (4 * 16)  # folders in memory, each with fewer segments than merge
    asked = [f"{number} 3 5" for number in range(12)]
    assert max(map(rows_read, asked)) < 12 * 160 / 8
    engine = Counting()
    whole = [f"{a} {b} {c}" for a in range(12) for b in range(10) for c in range(16)]
    assert CachedEngine(engine, Watched(tmp_path)).score(whole, ["x"] * len(whole)).tolist() == [
        -len(prompt) - 1 / 7 for prompt in whole
    ]
    assert engine.scored == []


@pytest.mark.usefixtures("small_folders")
def test_what_an_earlier_layout_holds_is_found_and_dealt_out(tmp_path: Path) -> None:
    lake = Watched(tmp_path)
    old = [f"old {n}" for n in range(200)]
    CachedEngine(Counting(), lake).generate(old, WARM)  # one large segment in the folder itself
    [path] = segments(lake)
    assert path.count("/") == 4
    for number in range(4):
        CachedEngine(Counting(), lake).generate(["old 7", f"new {number}"], WARM)
    assert path not in segments(lake)
    engine = Counting()
    found = CachedEngine(engine, lake).generate(old, WARM)
    assert (engine.asked, found.cached) == ([], 200)
    assert found.texts == Counting().generate(old, WARM).texts


def test_a_broken_segment_is_named_with_the_way_out(empty_lake: Lake) -> None:
    CachedEngine(Counting(), empty_lake).generate(["a", "b"], WARM)
    [path] = segments(empty_lake)
    data = bytearray(empty_lake.read_bytes(path) or b"")
    for broken in (b"", b"PAR1", bytes(data[:-20]), _flipped(data)):
        empty_lake.write_bytes(path, broken)
        with pytest.raises(LakeError, match="delete the file and run the shard again") as failed:
            CachedEngine(Counting(), empty_lake).generate(["a"], WARM)
        assert failed.value.context["file"] == path
    empty_lake.delete(path)
    assert CachedEngine(Counting(), empty_lake).generate(["a"], WARM).cached == 0


def _flipped(data: bytearray) -> bytes:
    """One bit of a page turned: the length and the footer are as they were."""
    data[len(data) // 8] ^= 0x40
    return bytes(data)


def test_what_came_before_the_engine_failed_is_not_paid_again(empty_lake: Lake) -> None:
    class Dying(Counting):
        def generate(self, prompts: Sequence[str], *args: Any, **options: Any) -> Generated:
            whole = super().generate(prompts, *args, **options)
            raise Interrupted(
                EngineError("The line is dead.", hint="call again"),
                {0: (whole.texts[0], whole.tokens_of[0])},
            )

    with pytest.raises(EngineError, match="The line is dead") as failed:
        CachedEngine(Dying(), empty_lake).generate(["a", "b"], WARM)
    assert type(failed.value) is EngineError
    engine = Counting()
    found = CachedEngine(engine, empty_lake).generate(["a", "b"], WARM)
    assert engine.asked == [["b"]]
    assert found.texts == Counting().generate(["a", "b"], WARM).texts


def test_too_few_answers_are_an_error_and_not_remembered(empty_lake: Lake) -> None:
    class Forgetful(Counting):
        def generate(self, prompts: Sequence[str], *args: Any, **options: Any) -> Generated:
            return super().generate(prompts[1:], *args, **options)

    with pytest.raises(EngineError, match="gave 1 answers to 2 prompts"):
        CachedEngine(Forgetful(), empty_lake).generate(["a", "b"], WARM)
    assert segments(empty_lake) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from test_generate_responses import Counting, WARM
from nightshift.generate.engines.cached import CachedEngine
from nightshift.lake import Lake

engine = CachedEngine(Counting(), Lake(Path(sys.argv[1]).as_uri(), scratch=Path(sys.argv[1])))
engine.generate(["a", "b"], WARM)
os.kill(os.getpid(), signal.SIGKILL)   # before whoever asked could write anything down
"""


def test_answers_outlive_a_killed_process(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "lake")],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    engine = Counting()
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    assert CachedEngine(engine, lake).generate(["b", "a"], WARM).cached == 2
    assert engine.asked == []


def test_of_equal_prompts_each_gets_an_answer_of_its_own(empty_lake: Lake) -> None:
    """Asked at once, an engine whose answers are a prompt's own would give both the same one."""
    engine = CachedEngine(Counting(), empty_lake)
    found = generate_each(engine, ["a", "b", "a", "a"], Sampling(seed=5))
    assert len({answers[0] for answers in found.texts}) == 4
    assert found.cached == 0
    again = generate_each(engine, ["a", "b", "a", "a"], Sampling(seed=5))
    assert again.texts == found.texts
    assert again.cached == 4
    # The first of each is what it is when nothing is asked twice.
    assert found.texts[:2] == engine.generate(["a", "b"], Sampling(seed=5)).texts
