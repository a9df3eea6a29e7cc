"""The lease of a (night, stage): one works, the others wait, the dead are not waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT
from nightshift import lease, stages
from nightshift.errors import DiskFull, LakeError, LeaseHeld
from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.settings import Settings
from nightshift.stages import STAGES, Ran, Stage, StageContext

NAME = "2017-11-20/collect"
HOLDER = """
import sys, time
from pathlib import Path
from nightshift.lake import Lake
from nightshift.lease import held
lake = Lake(sys.argv[1], scratch=Path(sys.argv[2]))
with held(lake, sys.argv[3], wait_seconds=0, done=lambda: False):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["disk", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "disk":
        return Lake((tmp_path / "lake").as_uri(), scratch=tmp_path / "scratch")
    s3 = request.getfixturevalue("s3")
    return Lake(s3.fresh(), options=s3.options, scratch=tmp_path / "scratch")


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "lake").as_uri(), scratch=tmp_path / "scratch")


@pytest.fixture
def holder(local: Lake, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease and does not let go."""
    arguments = [local.root, str(tmp_path / "scratch"), NAME]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def never() -> bool:
    return False


def current(lake: Lake) -> dict[str, Any]:
    last = lake.names(f"leases/{NAME}")[-1]
    body: dict[str, Any] = json.loads(lake.read_bytes(f"leases/{NAME}/{last}") or b"")
    return body


def test_a_released_lease_is_free_at_once(lake: Lake):
    for _ in range(3):
        with held(lake, NAME, wait_seconds=0, done=never) as mine:
            assert mine
            assert not current(lake)["released"]
        assert current(lake)["released"]
    assert len(lake.names(f"leases/{NAME}")) <= 2  # old ones are cleared away


def test_a_lease_is_released_when_the_work_fails(lake: Lake):
    with pytest.raises(ZeroDivisionError), held(lake, NAME, wait_seconds=0, done=never):
        1 / 0  # noqa: B018
    assert current(lake)["released"]


def test_a_live_holder_is_waited_for_and_named(local: Lake, holder: subprocess.Popen[str]):
    started = time.monotonic()
    with pytest.raises(LeaseHeld) as caught, held(local, NAME, wait_seconds=1.5, done=never):
        pass
    assert time.monotonic() - started >= 1.5
    assert f"process {holder.pid}" in caught.value.hint
    assert caught.value.exit_code == 13


def test_waiting_ends_when_the_other_has_done_the_work(local: Lake, holder: subprocess.Popen[str]):
    finished = time.monotonic() + 1
    with held(local, NAME, wait_seconds=60, done=lambda: time.monotonic() > finished) as mine:
        assert not mine
    assert not current(local)["released"]  # it was and is the other's


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_killed_holder_on_this_machine_is_not_waited_for(
    local: Lake, holder: subprocess.Popen[str], reaped: bool
):
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    if reaped:
        holder.wait()

    started = time.monotonic()
    with held(local, NAME, wait_seconds=0, done=never) as mine:
        assert mine
    assert time.monotonic() - started < lease.TTL_SECONDS / 10


def foreign(lake: Lake, **changes: Any) -> None:
    """A lease whose holder is on another machine."""
    body = lease._body() | {"host": "elsewhere", "boot": "other"} | changes
    assert lake.create(f"leases/{NAME}/000001.json", json.dumps(body).encode())


def test_a_holder_elsewhere_is_believed_until_it_expires(lake: Lake):
    foreign(lake, expires_at=time.time() + 2.5)
    with pytest.raises(LeaseHeld, match="elsewhere"), held(lake, NAME, wait_seconds=0, done=never):
        pass
    with held(lake, NAME, wait_seconds=60, done=never) as mine:
        assert mine


def test_a_lease_taken_after_a_long_wait_is_fresh(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "TTL_SECONDS", 2.0)
    foreign(lake, expires_at=time.time() + 3)
    with held(lake, NAME, wait_seconds=60, done=never):
        assert current(lake)["expires_at"] > time.time() + 1


def test_a_holder_renews_its_lease(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    with held(lake, NAME, wait_seconds=0, done=never):
        first = current(lake)["expires_at"]
        time.sleep(0.6)
        assert current(lake)["expires_at"] > first


def test_our_own_lease_is_ours_when_the_answer_to_creating_it_was_lost(
    local: Lake, monkeypatch: pytest.MonkeyPatch
):
    create = local.create
    monkeypatch.setattr(local, "create", lambda *given: create(*given) and False)
    with held(local, NAME, wait_seconds=0, done=never) as mine:
        assert mine


def test_a_lake_that_fails_at_the_release_does_not_undo_the_work(
    local: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(path: str, data: bytes) -> None:
        raise LakeError("The network is gone.")

    with held(local, NAME, wait_seconds=0, done=never):
        monkeypatch.setattr(local, "write_bytes", broken)
    assert "could not be released" in caplog.text

    with (
        pytest.raises(DiskFull),  # and the error of the work is not replaced by the lease's
        held(local, "2017-11-20/embed", wait_seconds=0, done=never),
    ):
        raise DiskFull("No space left.")


# --- two runs of one stage --------------------------------------------------------------------


@pytest.fixture
def slow_stage(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A stage that takes a second; returns how often it worked."""
    works = []

    def run(ctx: StageContext) -> dict[str, Any]:
        works.append(threading.get_ident())
        time.sleep(1)
        ctx.writer.write_json("a.json", 1)
        return {}

    module = type(sys)("slow_stage")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slow_stage", module)
    monkeypatch.setitem(STAGES, "slow", Stage("slow", "slow", "slow_stage", "takes a second"))
    return lambda: len(works)


def test_of_two_runs_at_once_one_works_and_both_have_the_dataset(
    tmp_path: Path, slow_stage: Callable[[], int]
):
    settings, ran = Settings.load({"home": str(tmp_path)}), list[Ran]()

    def run() -> None:
        ran.append(stages.run("slow", NIGHT, settings))

    runs = [threading.Thread(target=run) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()

    assert slow_stage() == 1
    assert sorted(r.worked for r in ran) == [False, False, True]
    assert len({r.manifest.digest for r in ran}) == 1


def test_a_run_gives_up_after_its_wait_and_names_the_stage(
    tmp_path: Path, slow_stage: Callable[[], int]
):
    settings = Settings.load({"home": str(tmp_path), "night": {"wait_seconds": 0}})
    other = threading.Thread(target=stages.run, args=("slow", NIGHT, settings))
    other.start()
    while not slow_stage():
        time.sleep(0.01)
    with pytest.raises(LeaseHeld) as caught:
        stages.run("slow", NIGHT, settings)
    other.join()
    assert caught.value.context["stage"] == "slow"
    assert caught.value.context["night"] == NIGHT.key
