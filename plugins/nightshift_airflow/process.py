"""A command in a process group of its own: streamed while it runs, gone when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

GRACE_SECONDS = 10.0
"""What a stage gets to release its lease between SIGTERM and SIGKILL."""
KEPT_LINES = 40
"""Lines of each stream that are kept to say what went wrong."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its status (negative: the signal) and the last lines it wrote."""

    status: int
    stdout: list[str]
    stderr: list[str]


class GroupProcess:
    """One command at a time, with everything that it starts."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._asked_to_stop = False

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        on_stdout: Callable[[str], None],
        on_stderr: Callable[[str], None],
    ) -> Ended:
        """Run to the end; each line is handed on as it comes.

        Whatever interrupts the wait (a signal's exception, a timeout) stops the whole group.
        """
        self._asked_to_stop = False
        child = self._child = subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        errors: deque[str] = deque(maxlen=KEPT_LINES)
        output: deque[str] = deque(maxlen=KEPT_LINES)
        readers = [
            threading.Thread(target=_drain, args=reading, daemon=True)
            for reading in ((child.stdout, output, on_stdout), (child.stderr, errors, on_stderr))
        ]
        try:
            if self._asked_to_stop:  # between the start of the process and its name here
                self.stop()
            for reader in readers:
                reader.start()
            # Ended but not reaped: until then no other process can get the group's number.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        finally:
            self.stop()
            status = child.wait()
            for reader in readers:
                reader.join(GRACE_SECONDS)
            self._child = None
        return Ended(status, list(output), list(errors))

    def stop(self) -> None:
        """End the group: SIGTERM, and SIGKILL for what is left after the grace.

        Safe in a signal handler that interrupts `run`: it takes no lock and reaps nothing.
        """
        self._asked_to_stop = True
        child = self._child
        if child is None:
            return
        if not _has_ended(child.pid):
            _signal(child.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while not _has_ended(child.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
        _signal(child.pid, signal.SIGKILL)  # also what an ended stage left behind


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # reaped already


def _drain(stream: IO[str], kept: deque[str], on_line: Callable[[str], None]) -> None:
    for raw in stream:
        line = raw.rstrip()
        kept.append(line)
        on_line(line)


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # the group is empty: nothing is left to stop
