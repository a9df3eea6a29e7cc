"""A process that must not outlive another one, however that one ends.

The launcher gives every rank a session of its own, where no signal to the stage's process group
reaches it. So the stage holds a named pipe open for writing, and each rank waits for its end: the
kernel closes it with the stage, a SIGKILL included.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = "alive"
_LEFT = 1


@contextmanager
def tether(folder: Path) -> Iterator[None]:
    """While this holds, processes that called `leave_with(folder)` live; then they end."""
    path = folder / _NAME
    os.mkfifo(path, 0o600)
    end = os.open(path, os.O_RDWR)  # opening for writing alone would wait for a reader
    try:
        yield
    finally:
        os.close(end)


def leave_with(folder: Path) -> None:
    """End this process at once when the holder of the tether lets go, or has already."""
    # Without waiting for a writer: it may be gone.
    end = os.open(folder / _NAME, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(end, True)
    threading.Thread(target=_watch, args=(end,), daemon=True).start()


def _watch(end: int) -> None:
    while os.read(end, 1):
        continue
    os._exit(_LEFT)
