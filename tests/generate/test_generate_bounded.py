"""A worker for calls into libraries: its end, its limits, and what it must not hold on to."""

import ctypes
import gc
import re
import threading
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

from nightshift.errors import EngineError
from nightshift.generate.engines.bounded import Worker

HAS_TRIM = hasattr(ctypes.CDLL(None), "malloc_trim")


class Model:
    def answer(self):
        return threading.current_thread()

    def fail(self):
        raise ValueError("no answer")


def test_calls_share_a_thread_that_ends_with_the_worker():
    worker, model = Worker(), Model()
    first, second = (worker.run(model.answer, 5.0, "model") for _ in range(2))
    assert first is second
    assert first is not threading.current_thread()
    assert first.is_alive()
    del worker
    gc.collect()
    first.join(5.0)
    assert not first.is_alive()


@pytest.mark.parametrize("name", ["answer", "fail"])
def test_a_worker_that_waits_does_not_hold_what_it_last_called(name):
    worker, model = Worker(), Model()
    gone = weakref.ref(model)
    with suppress(ValueError):
        worker.run(getattr(model, name), 5.0, "model")
    del model
    gc.collect()
    assert gone() is None


def test_what_a_call_raises_is_raised():
    with pytest.raises(ValueError, match="no answer"):
        Worker().run(Model().fail, 5.0, "model")


def test_a_call_that_hangs_is_an_error_and_so_is_the_next():
    worker, never = Worker(), threading.Event()
    for call in (never.wait, lambda: "well"):
        with pytest.raises(EngineError, match=r"model did not come back within 0\.1 s"):
            worker.run(call, 0.1, "model")
    never.set()


@pytest.mark.skipif(not HAS_TRIM, reason="another C library than glibc")
def test_memory_that_a_call_freed_goes_back_to_the_system():
    def churn():
        """200 MB in the arena of this thread, all freed but the last: the arena cannot shrink."""
        return [b"x" * 100_000 for _ in range(2_000)][-1]

    worker = Worker()
    before = resident()
    kept = worker.run(churn, 30.0, "churn")
    assert len(kept) == 100_000
    assert resident() - before < 50


def resident() -> float:
    """MiB of this process in memory."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
