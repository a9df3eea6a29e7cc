"""The routes: what comes in, which champion answers, what goes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Query, Response

import nightshift
from nightshift.compute import bind_torch
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.serving.batching import Batcher
from nightshift.serving.champion import Champion, Ranked
from nightshift.serving.follower import Follower
from nightshift.serving.guard import Guard
from nightshift.serving.ranking import Encodes, Recommend, Search, recommend, search
from nightshift.serving.schemas import (
    Answer,
    ExplainRequest,
    Health,
    HistoryAnswer,
    Item,
    Model,
    OfSomebody,
    RecommendRequest,
    SearchRequest,
    SimilarQuery,
    SimilarRequest,
    WithHistory,
    within,
)
from nightshift.settings import Settings
from nightshift.text.encoder import Encoder

Done = TypeVar("Done")

_QUERIES = 4
"""Searches that the encoder reads at a time. Batches are filled up, so one alone pays for all: at 4
a tenth more than alone, while four together cost less than half of four alone."""
WARM_UP = "warm up"
"""The first text that the encoder reads."""


class Server:
    """What the routes share: the champion, the one thread that ranks, and its queues."""

    def __init__(self, settings: Settings, encoder: Encodes | None = None) -> None:
        self.limits = settings.serve
        self.follower = Follower(Lake.of(settings), settings)
        self.encoder = encoder or Encoder(settings.with_({"text": {"batch": _QUERIES}}))
        self.thread = ThreadPoolExecutor(
            1, "rank", initializer=partial(bind_torch, settings.compute.threads)
        )
        batcher = partial(
            Batcher, executor=self.thread, size=self.limits.batch, wait_ms=self.limits.wait_ms
        )
        self.recommending: Batcher[Recommend, Ranked] = batcher(recommend)
        self.searching: Batcher[Search, Ranked] = batcher(partial(search, encoder=self.encoder))

    @property
    def champion(self) -> Champion:
        """The live one, for as long as a request takes.

        Raises:
            HTTPException: 503, there is none yet.
        """
        current = self.follower.current
        if current is None:
            raise HTTPException(503, "no model is loaded yet", {"Retry-After": "5"})
        return current

    async def in_thread(self, work: Callable[[], Done]) -> Done:
        """Run it where everything is ranked."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it is open, the alias is followed and the queues are worked off."""
        # The encoder's own first use takes seconds.
        await self.in_thread(partial(self.encoder.encode, [WARM_UP]))
        loops = (self.follower.run(), self.recommending.run(), self.searching.run())
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            self.thread.shutdown()


def create_app(settings: Settings, encoder: Encodes | None = None) -> FastAPI:
    """The server as an ASGI application.

    Args:
        encoder: reads searches; None: the settings' own.
    """
    server = Server(settings, encoder)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with server.running():
            yield

    app = FastAPI(title="Nightshift", version=nightshift.__version__, lifespan=lifespan)
    app.include_router(routes(server))
    app.add_middleware(Guard, settings=settings.serve)
    return app


def routes(server: Server) -> APIRouter:
    """Every route; each answers with the champion that was live when the request came."""
    router = APIRouter()
    limits = server.limits

    @router.post("/recommend")
    async def recommend_for(asked: RecommendRequest) -> HistoryAnswer:
        """The best items for a customer, or after a history."""
        within(limits, asked)
        champion = server.champion
        history, unknown = _history(champion, asked)
        excluded = champion.codes_of(asked.exclude)
        seen = asked.exclude_seen if asked.exclude_seen is not None else not champion.repeats
        ask = Recommend(champion, history, asked.k, excluded[excluded >= 0], seen)
        ranked = await server.recommending.answer(ask)
        return HistoryAnswer(items=_items(ranked), model=_model(champion), unknown_items=unknown)

    @router.post("/search")
    async def search_for(asked: SearchRequest) -> HistoryAnswer:
        """The best items for what a customer typed."""
        within(limits, asked)
        champion = server.champion
        history, unknown = _history(champion, asked)
        ranked = await server.searching.answer(Search(champion, asked.query, history, asked.k))
        return HistoryAnswer(items=_items(ranked), model=_model(champion), unknown_items=unknown)

    @router.post("/explain")
    async def explain_to(asked: ExplainRequest) -> dict[str, Any]:
        """Why an item is recommended to a customer, or after a history."""
        within(limits, asked)
        champion = server.champion
        history, unknown = _history(champion, asked)
        code = champion.codes_of([asked.item_id])
        if code[0] < 0:
            raise HTTPException(404, f"the catalogue has no item {asked.item_id!r}")
        explainer = champion.explainer
        found = await server.in_thread(partial(explainer.explain, history, code[None, :]))
        why = explainer.one(found, 0, 0).as_json()
        return why | {"model": _model(champion).model_dump(), "unknown_items": unknown}

    @router.get("/similar")
    async def similar_by_address(asked: Annotated[SimilarQuery, Query()]) -> Answer:
        """The items that are nearest to one in the model."""
        within(limits, asked, where="query")
        return await similar_of(asked)

    @router.post("/similar")
    async def similar(asked: SimilarRequest) -> Answer:
        """The items that are nearest to one in the model."""
        within(limits, asked)
        return await similar_of(asked)

    async def similar_of(asked: SimilarRequest) -> Answer:
        champion = server.champion
        code = int(champion.codes_of([asked.item_id])[0])
        if code < 0:
            raise HTTPException(404, f"the catalogue has no item {asked.item_id!r}")
        ranked = await server.in_thread(partial(champion.similar, code, asked.k))
        return Answer(items=_items(ranked), model=_model(champion))

    @router.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """What is live; 503 before anything is."""
        follower = server.follower
        champion = follower.current
        if champion is None:
            response.status_code = 503
            return Health(status="nothing is live yet", rejected=follower.rejected)
        age = (datetime.now(UTC) - champion.alias.knows) / timedelta(hours=1)
        return Health(
            status="ok",
            model=_model(champion),
            live_since=champion.alias.at,
            loaded_at=champion.loaded_at.isoformat(timespec="seconds"),
            knows_until=champion.alias.knows.isoformat(),
            age_hours=round(age, 2),
            rejected=follower.rejected,
        )

    return router


def _history(champion: Champion, asked: WithHistory) -> tuple[Histories, list[str]]:
    """The history of a request as one row, and its items that the catalogue does not have.

    Raises:
        HTTPException: 404, the model does not know this customer.
    """
    if isinstance(asked, OfSomebody) and asked.user_key is not None:
        found = champion.history_of_user(asked.user_key)
        if found is None:
            said = "the live model knows no customer of this user_key; send a history instead"
            raise HTTPException(404, said)
        return found, []
    given = asked.history or []
    codes = champion.codes_of(given)
    known = codes >= 0
    times = None
    if asked.times is not None:
        times = [time for time, there in zip(asked.times, known, strict=True) if there]
    unknown = [item for item, there in zip(given, known, strict=True) if not there]
    return champion.history_of_items(codes[known], times), unknown


def _items(ranked: Ranked) -> list[Item]:
    return [Item(item_id=item_id, score=score) for item_id, score in ranked]


def _model(champion: Champion) -> Model:
    return Model(state=champion.name, line=champion.alias.line, night=champion.alias.night)
