"""The small real shop with texts of a test's own: titles, reviews, searches, segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from conftest import sources_of
from factories import NIGHT
from nightshift.generate.engines.base import Generated, Sampling
from nightshift.generate.sources import Sources
from nightshift.lake import Lake
from nightshift.settings import Settings

Answer = Callable[[str], str]


class Scripted:
    """Stands where the engine stands and says what it is told, to try how answers are read."""

    name = "scripted"

    def __init__(self, answer: Answer) -> None:
        self.identity = {"engine": "scripted", "version": "0", "compute_type": "none"}
        self.model = {"name": "scripted", "digest": "0"}
        self.answer = answer
        self.prompts: list[str] = []
        self.prefixes: list[str] = []

    def constrains(self, sampling: Sampling) -> bool:
        return False

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        self.prompts += prompts
        self.prefixes.append(prefix)
        texts = [[self.answer(prompt)] * sampling.per_prompt for prompt in prompts]
        return Generated(texts, len(prompts))


def shop_of(
    lake: Lake,
    settings: Settings,
    titles: Sequence[str | None] = (),
    *,
    answer: Answer | None = None,
    items: pl.DataFrame | None = None,
    users: pl.DataFrame | None = None,
    reviews: pl.DataFrame | None = None,
    searches: pl.DataFrame | None = None,
) -> Sources:
    """Sources whose first items have these titles (and texts); with `answer`, a scripted engine."""
    sources = sources_of(lake, settings)
    snapshot = sources.snapshot
    own = snapshot.items if items is None else items
    if titles:
        texts = [*titles, *own["title"].to_list()[len(titles) :]]
        own = own.with_columns(title=pl.Series(texts), text=pl.Series(texts))
    snapshot.__dict__["items"] = own
    for name, frame in (("users", users), ("reviews", reviews), ("searches", searches)):
        if frame is not None:
            put(sources, name, frame)
    if answer is not None:
        sources.__dict__["engine"] = Scripted(answer)
    return sources


def put(sources: Sources, name: str, frame: pl.DataFrame) -> None:
    """One table of the snapshot, replaced for this test alone."""
    snapshot = sources.snapshot
    kind = type(snapshot)
    snapshot.__class__ = type(kind.__name__, (kind,), {name: frame})


def targets_of(sources: Sources, count: int, budget: int = 1) -> pl.DataFrame:
    """Targets for the first items."""
    return pl.DataFrame(
        {
            "item_id": sources.snapshot.items["item_id"].head(count),
            "user_key": pl.Series([None] * count, dtype=pl.String),
            "shortage": pl.Series([1.0] * count),
            "budget": pl.Series([budget] * count, dtype=pl.Int64),
        }
    )


def reviews_of(rows: Sequence[tuple[str, float | None, str | None]]) -> pl.DataFrame:
    """contracts.REVIEWS from (item, rating, text)."""
    return pl.DataFrame(
        [
            {"user_key": "u", "item_id": item, "rating": rating, "text": text}
            for item, rating, text in rows
        ],
        schema={
            "user_key": pl.String,
            "item_id": pl.String,
            "rating": pl.Float64,
            "text": pl.String,
        },
    ).with_columns(occurred_at=pl.lit(NIGHT.start))


def searches_of(rows: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """contracts.SEARCHES from (query, item)."""
    frame = pl.DataFrame(
        list(rows), schema={"query": pl.String, "item_id": pl.String}, orient="row"
    )
    return frame.with_columns(
        user_key=pl.lit("u"), grade=pl.lit(None, pl.Float64), occurred_at=pl.lit(NIGHT.start)
    )


def asked_for(targets: pl.DataFrame) -> int:
    return int(targets["budget"].sum())


def made_and_dropped(chunk: Any) -> int:
    return int(chunk.samples.num_rows + sum(chunk.dropped.values()))
