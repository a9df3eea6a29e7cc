"""Requests that come together share a pass, and get what they would have got alone."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from served_nights import ITEMS, PAST

from nightshift.serving.batching import Batcher
from nightshift.serving.ranking import Recommend, recommend


def answers(asks, work, **options):
    """All asks at the same time; what came of each."""

    async def together():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, executor, **({"size": 8, "wait_ms": 20} | options))
            loop = asyncio.create_task(batcher.run())
            try:
                waiting = [batcher.answer(ask) for ask in asks]
                return await asyncio.gather(*waiting, return_exceptions=True)
            finally:
                loop.cancel()

    return asyncio.run(together())


def test_those_that_come_together_go_together_in_order():
    batches = []

    def double(asks):
        batches.append(list(asks))
        return [2 * ask for ask in asks]

    assert answers(range(20), double) == [2 * n for n in range(20)]
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert [ask for batch in batches for ask in batch] == list(range(20))


def test_one_alone_waits_for_nobody():
    started = time.monotonic()
    assert answers([3], lambda asks: asks, wait_ms=30_000) == [3]
    assert time.monotonic() - started < 5


def test_where_several_ask_the_first_waits_for_those_who_come_within_milliseconds():
    batches = []

    def work(asks):
        batches.append(list(asks))
        return asks

    async def coming():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, executor, size=8, wait_ms=500)
            loop = asyncio.create_task(batcher.run())
            await asyncio.gather(batcher.answer(1), batcher.answer(2))
            third = asyncio.create_task(batcher.answer(3))
            await asyncio.sleep(0.05)
            await asyncio.gather(third, batcher.answer(4))
            loop.cancel()

    asyncio.run(coming())
    assert batches[-1] == [3, 4]


def test_a_full_batch_does_not_wait():
    started = time.monotonic()
    assert answers(range(8), lambda asks: asks, wait_ms=30_000) == list(range(8))
    assert time.monotonic() - started < 5


def test_work_is_never_done_by_two_at_a_time():
    inside, most = [0], [0]
    lock = threading.Lock()

    def work(asks):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        with lock:
            inside[0] -= 1
        return asks

    answers(range(30), work, size=3, wait_ms=0)
    assert most == [1]


def test_an_error_goes_to_those_who_asked_and_to_nobody_else():
    def work(asks):
        if 1 in asks:
            raise ValueError("one is no number")
        return asks

    found = answers([0, 1, 2, 3], work, size=2)
    assert [type(one) for one in found] == [ValueError, ValueError, int, int]


def test_who_has_gone_is_not_worked_for():
    seen, go = [], threading.Event()

    def work(asks):
        seen.extend(asks)
        assert go.wait(30)
        return asks

    async def leaving():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, executor, size=8, wait_ms=1)
            loop = asyncio.create_task(batcher.run())
            first = asyncio.create_task(batcher.answer("first"))
            while not seen:
                await asyncio.sleep(0.001)
            gone = asyncio.create_task(batcher.answer("gone"))
            stays = asyncio.create_task(batcher.answer("stays"))
            await asyncio.sleep(0)
            gone.cancel()
            go.set()
            assert await asyncio.gather(first, stays) == ["first", "stays"]
            loop.cancel()

    asyncio.run(leaving())
    assert seen == ["first", "stays"]


@pytest.mark.parametrize("repeats", [True, False])
def test_many_asks_at_once_are_answered_as_one_by_one(lake_of, repeats):
    served = lake_of(repeats=repeats)
    one, two = served.champion(0), served.champion(1)
    rng = np.random.default_rng(3)
    asks = []
    for number, user in enumerate([*PAST, "newcomer"]):
        champion = (one, two)[number % 2]
        history = champion.history_of_user(user)
        if number % 3 == 0:
            codes = rng.integers(0, len(ITEMS), rng.integers(0, 12)).astype(np.int32)
            history = champion.history_of_items(codes, None)
        excluded = rng.integers(0, len(ITEMS), number % 4).astype(np.int32)
        asks.append(
            Recommend(champion, history, 1 + number % 9, excluded, exclude_seen=number % 5 == 0)
        )
    together = recommend(asks)
    for ask, found in zip(asks, together, strict=True):
        (alone,) = recommend([ask])
        assert [item for item, _ in found] == [item for item, _ in alone]
        assert [score for _, score in found] == pytest.approx([s for _, s in alone], abs=1e-4)
        assert len(found) == ask.k
        assert not {ITEMS[code] for code in ask.exclude} & {item for item, _ in found}


def test_concurrent_requests_share_passes(served, answering, monkeypatch):
    from nightshift.serving import ranking

    served.make_live(0)
    passes = []
    top_k = ranking.Champion.top_k

    def look(champion, histories, k, **rule):
        passes.append((len(histories), threading.current_thread().name))
        return top_k(champion, histories, k, **rule)

    bodies = [{"user_key": user, "k": 5} for user in PAST] * 3
    with answering(served.settings, wait_ms=30, batch=16) as client:
        alone = [client.post("/recommend", json=body).json() for body in bodies[:20]]
        monkeypatch.setattr(ranking.Champion, "top_k", look)
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda body: client.post("/recommend", json=body), bodies))
    ids = [[item["item_id"] for item in one.json()["items"]] for one in found]
    assert ids == 3 * [[item["item_id"] for item in one["items"]] for one in alone]
    assert sum(count for count, _ in passes) == 60
    assert len(passes) < 40
    assert max(count for count, _ in passes) <= 16
    assert {name.partition("_")[0] for _, name in passes} == {"rank"}
