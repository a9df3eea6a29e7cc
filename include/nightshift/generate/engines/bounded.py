"""A call into a library that may hang: after its time it is an error, not a task for ever."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from nightshift.compute import give_back_freed
from nightshift.errors import EngineError

T = TypeVar("T")

_Outcome = tuple[Any, BaseException | None]
_Calls = queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[_Outcome]] | None]


class Worker:
    """One thread that calls are made in, one after the other.

    One and the same for all of them: OpenMP keeps a pool of threads for each thread that asks.
    It is a daemon, so that a call that never ends does not keep the process, and it ends with the
    worker.
    """

    def __init__(self) -> None:
        self._calls: _Calls = queue.SimpleQueue()
        self._hangs = False
        threading.Thread(target=_work, args=(self._calls,), name="engine", daemon=True).start()
        weakref.finalize(self, self._calls.put, None)

    def run(self, call: Callable[[], T], seconds: float, what: str) -> T:
        """What `call` returns or raises.

        Raises:
            EngineError: nothing came within `seconds`, now or in an earlier call.
        """
        if self._hangs:
            raise _hangs(what, seconds)
        answer: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._calls.put((call, answer))
        try:
            result, error = answer.get(timeout=seconds)
        except queue.Empty:
            self._hangs = True
            raise _hangs(what, seconds) from None
        if error is not None:
            raise error
        found: T = result
        return found


def _work(calls: _Calls) -> None:
    while (asked := calls.get()) is not None:
        call, answer = asked
        outcome = _outcome(call)
        # Nothing is held while waiting: a call holds its engine, and that holds a model.
        del asked, call
        give_back_freed()
        answer.put(outcome)
        del answer, outcome


def _outcome(call: Callable[[], Any]) -> _Outcome:
    try:
        return call(), None
    except BaseException as error:  # handed to who asked
        return None, error


def _hangs(what: str, seconds: float) -> EngineError:
    return EngineError(
        f"{what} did not come back within {seconds:g} s.",
        hint="run again: finished chunks are kept; if it is only slow, raise "
        "generate.engine.call_seconds or lower generate.chunk_targets",
    )
