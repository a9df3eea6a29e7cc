"""What is asked of a champion, and many asks in one pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from nightshift.histories import Histories
from nightshift.ranking import Codes
from nightshift.recommend.model.features import Floats
from nightshift.serving.champion import Champion, Ranked


@dataclass(frozen=True, slots=True)
class Recommend:
    """The k best items after a history of one row."""

    champion: Champion
    history: Histories
    k: int
    exclude: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    exclude_seen: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """The k best items for a query."""

    champion: Champion
    query: str
    history: Histories
    k: int


class Encodes(Protocol):
    """A sentence encoder."""

    def encode(self, texts: Sequence[str]) -> Floats: ...


def recommend(asks: Sequence[Recommend]) -> list[Ranked]:
    """An answer to each; those of one champion and one rule go through the model together."""
    found: list[Ranked] = [[] for _ in asks]
    for rows in _grouped(asks, lambda ask: (id(ask.champion), ask.exclude_seen)):
        group = [asks[row] for row in rows]
        champion = group[0].champion
        # Excluded items are cut out behind the ranking: then rankings are `score`'s own.
        deepest = max(ask.k + len(ask.exclude) for ask in group)
        histories = Histories.joined([ask.history for ask in group])
        codes, scores = champion.top_k(histories, deepest, exclude_seen=group[0].exclude_seen)
        for row, ask, ranked, values in zip(rows, group, codes, scores, strict=True):
            kept = ~np.isin(ranked, ask.exclude)
            found[row] = champion.named(ranked[kept][: ask.k], values[kept][: ask.k])
    return found


def search(asks: Sequence[Search], encoder: Encodes) -> list[Ranked]:
    """An answer to each; those of one champion are ranked together."""
    vectors = encoder.encode([ask.query for ask in asks])
    found: list[Ranked] = [[] for _ in asks]
    for rows in _grouped(asks, lambda ask: id(ask.champion)):
        group = [asks[row] for row in rows]
        for row, ranked in zip(rows, _rank_queries(group, vectors[rows]), strict=True):
            found[row] = ranked
    return found


def _rank_queries(asks: Sequence[Search], vectors: Floats) -> list[Ranked]:
    """As the model's plan has it: words, meaning, and who asks.

    Args:
        asks: of one champion.
        vectors: their queries' embeddings [asks, width].
    """
    champion = asks[0].champion
    codes, scores = champion.ranker.rank_queries(
        vectors,
        max(ask.k for ask in asks),
        texts=[ask.query for ask in asks],
        indexes=champion.indexes,
        histories=Histories.joined([ask.history for ask in asks]),
        candidates=champion.candidates,
    )
    return [
        champion.named(codes[row][: ask.k], scores[row][: ask.k]) for row, ask in enumerate(asks)
    ]


One = TypeVar("One")


def _grouped(asks: Iterable[One], of: Callable[[One], Hashable]) -> list[list[int]]:
    """Places of the asks that go together."""
    groups: dict[Hashable, list[int]] = {}
    for row, ask in enumerate(asks):
        groups.setdefault(of(ask), []).append(row)
    return list(groups.values())
