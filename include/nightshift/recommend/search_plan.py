"""Choosing a search's plan on queries before start, each judged by a tower that never saw it.

The real queries are cut into folds by a digest of their text; the tower of a fold learns from all
others, and from generated queries whose text is no query of the fold. The plan is chosen on all
of them, part by part; then the tower that is kept learns from everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nightshift.ranking import Scores
from nightshift.recommend.queries import Asked, Catalogue, Ints, Pairs, Tower, fit_tower
from nightshift.recommend.search import Plan, search_scores
from nightshift.searches import LEAST, Queries, quality, rank_by
from nightshift.text.bm25 import STEMS, Floats, Indexes

FOLDS = 4
TUNING_QUERIES = 500
_WEIGHTS = tuple(np.round(np.arange(0, 1.01, 0.1), 1).tolist())
_STEP = 0.1
_SHARES = (0.5, 1.0)

Figures = npt.NDArray[np.float64]  # NDCG@10 of each query


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of searches before start."""

    asked: Asked  # distinct query texts, real and generated
    texts: Sequence[str]  # theirs
    pairs: Pairs
    queries: Queries  # the real ones with a relevant item
    rows: Ints  # [queries] their rows in `asked`


def fit(
    catalogue: Catalogue, indexes: Indexes, past: Past, *, steps: int, seed: int
) -> tuple[Plan, Tower]:
    """The plan, and a tower that learnt from all pairs."""
    whole = fit_tower(catalogue, past.asked, past.pairs, steps=steps, seed=seed)
    if len(past.queries) < LEAST:
        return Plan(), whole
    towers = _towers(catalogue, past, steps=steps, seed=seed)
    return _choose(_Judge(catalogue, indexes, past, towers)), whole


def _fold_of(texts: Sequence[str]) -> Ints:
    """[texts] a fold each; the same text always falls into the same one."""
    digests = (hashlib.sha256(f"fold:{text}".encode()).digest()[0] for text in texts)
    return np.fromiter(digests, dtype=np.int64, count=len(texts)) % FOLDS


def _towers(catalogue: Catalogue, past: Past, *, steps: int, seed: int) -> list[Tower]:
    fold = _fold_of(past.texts)[past.pairs.query]
    return [
        fit_tower(catalogue, past.asked, past.pairs.where(fold != number), steps=steps, seed=seed)
        for number in range(FOLDS)
    ]


class _Judge:
    """NDCG@10 of a plan on past queries, each with its fold's tower."""

    def __init__(
        self, catalogue: Catalogue, indexes: Indexes, past: Past, towers: list[Tower]
    ) -> None:
        self._catalogue, self._indexes, self._towers = catalogue, indexes, towers
        some = np.linspace(0, len(past.queries) - 1, min(TUNING_QUERIES, len(past.queries)))
        chosen = some.astype(np.int64)
        self.queries = past.queries.take(chosen)
        self._asked = past.asked.take(past.rows[chosen])
        self._fold = _fold_of(self.queries.texts)

    def figures(self, plan: Plan) -> Figures:
        found = np.zeros(len(self.queries))
        for number, tower in enumerate(self._towers):
            rows = np.flatnonzero(self._fold == number)
            if not len(rows):
                continue
            ranked = rank_by(self._scorer(plan, tower), rows, len(self._catalogue))
            found[rows] = quality(ranked, self.queries.take(rows))[:, 0]
        return found

    def _scorer(self, plan: Plan, tower: Tower) -> Callable[[Ints], Scores]:
        def score(rows: Ints) -> Scores:
            words: Floats = self._indexes[plan.stem].scores([self.queries.texts[r] for r in rows])
            return search_scores(self._catalogue, tower, plan, self._asked.take(rows), words)

        return score


def _choose(judge: _Judge) -> Plan:
    """Part by part, the weight of BM25 anew with each; a part that earns nothing stays out."""
    lexical = [Plan(stem=stem, lexical=1.0) for stem in STEMS]
    best, level = _better(judge, None, lexical)
    chosen = {"bm25": level}
    best, level = _better(judge, None, [replace(best, lexical=w) for w in _WEIGHTS])
    chosen["fusion"] = level
    for part in ("tower", "places", "feedback"):
        tried = [
            replace(plan, **{part: share}) for share in _SHARES for plan in _nearby(best)
        ]
        best, level = _better(judge, (best, level), tried)
        chosen[part] = level
    best, level = _better(judge, (best, level), [replace(best, method="rank")])
    chosen["rank"] = level
    rounded = {name: round(value, 5) for name, value in chosen.items()}
    return replace(best, queries=len(judge.queries), chosen=rounded)


def _nearby(plan: Plan) -> Iterator[Plan]:
    for weight in (plan.lexical, plan.lexical - _STEP, plan.lexical + _STEP):
        if 0 <= weight <= 1:
            yield replace(plan, lexical=round(weight, 2))


def _better(
    judge: _Judge, now: tuple[Plan, float] | None, tried: Sequence[Plan]
) -> tuple[Plan, float]:
    """The best of what is now and what is tried; of equals, the first."""
    found = [] if now is None else [now]
    found += [(plan, float(judge.figures(plan).mean())) for plan in tried]
    return max(found, key=lambda pair: pair[1])
