"""A stage's process: its lines come as they are written, and nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightshift_airflow import process
from nightshift_airflow.process import Ended, GroupProcess

FAMILY = """
import signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60 if "leaves" not in sys.argv else 0)
"""


def run(code: str, *arguments: str) -> tuple[Ended, list[str], list[str]]:
    out: list[str] = []
    err: list[str] = []
    ended = GroupProcess().run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ,
        on_stdout=out.append,
        on_stderr=err.append,
    )
    return ended, out, err


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(true: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert true()  # type: ignore[operator]


def test_both_streams_and_the_status_come_back() -> None:
    ended, out, err = run("import sys; print('a\\nb'); print('x', file=sys.stderr); sys.exit(30)")

    assert (ended.status, out, err) == (30, ["a", "b"], ["x"])
    assert (ended.stdout, ended.stderr) == (["a", "b"], ["x"])


def test_lines_come_while_the_command_runs() -> None:
    seen: list[float] = []

    GroupProcess().run(
        [sys.executable, "-uc", "import time; print('a'); time.sleep(.5); print('b')"],
        env=os.environ,
        on_stdout=lambda _: seen.append(time.monotonic()),
        on_stderr=print,
    )

    assert seen[1] - seen[0] > 0.3


def test_bytes_that_are_no_text_do_not_break_it() -> None:
    ended, out, _ = run("import sys; sys.stdout.buffer.write(b'\\xff\\x00 ok\\n')")

    assert ended.status == 0
    assert out[0].endswith("ok")


@pytest.mark.parametrize("temper", ["meek", "stubborn"])
def test_stopping_ends_the_command_and_what_it_started(
    temper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.5)
    started: list[str] = []
    running = GroupProcess()
    command = [sys.executable, "-c", FAMILY, temper]
    ended: list[Ended] = []
    thread = threading.Thread(
        target=lambda: ended.append(
            running.run(command, env=os.environ, on_stdout=started.append, on_stderr=print)
        )
    )
    thread.start()
    wait_until(lambda: started)

    running.stop()
    thread.join(10)

    assert ended[0].status == (-9 if temper == "stubborn" else -15)
    wait_until(lambda: is_gone(int(started[0])))


def test_a_command_that_ends_leaves_nothing_behind() -> None:
    started = time.monotonic()

    ended, out, _ = run(FAMILY, "leaves")

    assert ended.status == 0
    assert time.monotonic() - started < 10  # not the minute that its child would have slept
    wait_until(lambda: is_gone(int(out[0])))


def test_an_exception_in_the_wait_stops_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids: list[int] = []

    def interrupted(kind: int, pid: int, options: int) -> object:
        if options & os.WNOHANG:
            return original(kind, pid, options)
        pids.append(pid)
        raise KeyboardInterrupt

    original = os.waitid
    monkeypatch.setattr(os, "waitid", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run("import time; time.sleep(60)")

    wait_until(lambda: is_gone(pids[0]))


def test_a_stop_while_the_command_is_being_started_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, start = GroupProcess(), subprocess.Popen

    def started(*args: Any, **kwargs: Any) -> Any:
        child = start(*args, **kwargs)
        running.stop()  # as another thread would: the process is there, and has no name yet
        return child

    monkeypatch.setattr("nightshift_airflow.process.subprocess.Popen", started)
    began = time.monotonic()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    ended = running.run(command, env=os.environ, on_stdout=print, on_stderr=print)
    assert ended.status == -15
    assert time.monotonic() - began < 30
