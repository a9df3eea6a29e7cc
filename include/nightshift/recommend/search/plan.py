"""Choosing a search's plan on queries before start, each judged by a tower that never saw it.

The real queries are cut into folds by a digest of their text; the tower of a fold learns from all
others, and from generated queries whose text is no query of the fold. The plan is chosen on all
of them, part by part; then the tower that is kept learns from everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nightshift.ranking import Scores
from nightshift.recommend.search.hybrid import Plan, search_scores
from nightshift.recommend.search.queries import Asked, Catalogue, Ints, Pairs, Tower, fit_tower
from nightshift.searches import LEAST, Queries, quality, rank_by
from nightshift.text.bm25 import STEMS, Floats, Indexes

FOLDS = 4
TUNING_QUERIES = 500
_WEIGHTS = tuple(np.round(np.arange(0, 1.01, 0.1), 1).tolist())
_FEEDBACKS = (0.0, 0.5, 1.0)
_KEPT_CELLS = 16_000_000
"""BM25 of past queries kept between plans: 64 MB of float32."""

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
        self._known: dict[str, Figures] = {}
        self._words: dict[str, Floats] = {}
        self._keeps = len(self.queries) * len(catalogue) <= _KEPT_CELLS

    def mean(self, plan: Plan) -> float:
        return float(self.figures(plan).mean())

    def figures(self, plan: Plan) -> Figures:
        """[queries] NDCG@10 of each; computed once."""
        key = replace(plan, fusion=0.0)
        if str(key) not in self._known:
            self._known[str(key)] = self._judge(plan)
        return self._known[str(key)]

    def _judge(self, plan: Plan) -> Figures:
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
            words = self._bm25(plan.stem, rows)
            return search_scores(self._catalogue, tower, plan, self._asked.take(rows), words)

        return score

    def _bm25(self, stem: str, rows: Ints) -> Floats:
        index, texts = self._indexes[stem], self.queries.texts
        if not self._keeps:
            return index.scores([texts[row] for row in rows])
        if stem not in self._words:
            self._words[stem] = index.scores(texts)
        return self._words[stem][rows]


def _choose(judge: _Judge) -> Plan:
    """How BM25 cuts words, its weight, then what else earns something beside it.

    Ranks instead of weights only where they win by more than the standard error of what they win
    (after Breiman et al., 1984): two methods that are as good differ by chance.
    """
    best = _best(judge, [Plan(stem=stem, lexical=1.0) for stem in STEMS])
    chosen = {"bm25": judge.mean(best), "minilm": judge.mean(replace(best, lexical=0.0))}
    best = _best(judge, [replace(best, lexical=weight) for weight in _WEIGHTS])
    best, chosen["fusion"] = replace(best, fusion=best.lexical), judge.mean(best)
    parts = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    best = _best(
        judge,
        [
            replace(best, tower=tower, places=places, feedback=feedback)
            for tower, places in parts
            for feedback in _FEEDBACKS
        ],
    )
    chosen["hybrid"] = judge.mean(best)
    by_rank = replace(best, method="rank")
    gain = judge.figures(by_rank) - judge.figures(best)
    chosen["by_rank"] = judge.mean(by_rank)
    if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
        best = by_rank
    rounded = {name: round(value, 5) for name, value in chosen.items()}
    return replace(best, queries=len(judge.queries), chosen=rounded)


def _best(judge: _Judge, tried: Sequence[Plan]) -> Plan:
    """That with the highest mean; of equals, the first."""
    return max(tried, key=judge.mean)
