"""A command in a process group of its own: streamed while it runs, gone when it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
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
        reader = threading.Thread(
            target=_drain, args=(child.stderr, errors, on_stderr), daemon=True, name="stderr"
        )
        try:
            reader.start()
            _drain(child.stdout, output, on_stdout)
            status = child.wait()
            reader.join()
        finally:
            self.stop()
            self._child = None
        return Ended(status, list(output), list(errors))

    def stop(self) -> None:
        """End the group: SIGTERM, and SIGKILL for what is left after the grace."""
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            _signal(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):  # the next line ends it
                child.wait(GRACE_SECONDS)
        _signal(child.pid, signal.SIGKILL)  # grandchildren too, also of a child that is gone
        child.wait()


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
