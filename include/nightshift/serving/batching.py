"""Micro-batching: requests that come within milliseconds share one pass.

All work goes through one thread: torch's threads are then those that the settings name, and no
request waits for another one's cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Batcher(Generic[Ask, Answer]):
    """Collects asks for `work`, which answers a list of them in order."""

    def __init__(
        self,
        work: Callable[[Sequence[Ask]], Sequence[Answer]],
        executor: Executor,
        *,
        size: int,
        wait_ms: float,
    ) -> None:
        self.work, self.executor = work, executor
        self.size, self.wait = size, wait_ms / 1000
        self._queue: asyncio.Queue[tuple[Ask, asyncio.Future[Answer]]] = asyncio.Queue()

    async def answer(self, ask: Ask) -> Answer:
        """The answer to one ask; what `work` raises is raised here."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((ask, future))
        return await future

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        crowded = False
        while True:
            batch = [await self._queue.get()]
            # Who was alone last time would wait for nobody; others queue up while it is worked on.
            if crowded and self._queue.qsize() < self.size - 1:
                await asyncio.sleep(self.wait)
            while len(batch) < self.size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            crowded = len(batch) > 1
            # Who has gone away meanwhile is not waited for.
            batch = [(ask, future) for ask, future in batch if not future.done()]
            if not batch:
                continue
            asks = [ask for ask, _ in batch]
            try:
                answers = await loop.run_in_executor(self.executor, self.work, asks)
            except Exception as error:  # it belongs to those who asked: this loop goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
