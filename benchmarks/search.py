"""Search over a catalogue of titles: the model's hybrid beside BM25, MiniLM and their fusion.

    make bench NAME=search ARGS='train.csv.gz'

CrowdFlower's search results relevance (2015): every distinct product title is in the catalogue, a
query's gain is its median relevance less one, and titles nobody judged for a query count as
irrelevant. Two protocols over the same queries, three seeds each:

    split   60 % of the queries to learn and choose on, the others judged, by a digest
    folds   every query judged once, by a model that learnt from the other four fifths: the figure
            of record, because it judges two and a half times the queries

Nothing is chosen on what is judged: how words are cut, every weight and what takes part are chosen
by cross-fitting on a model's own training queries, as on a night (`recommend.search_plan`). The
fusion has the same BM25, and its weight is chosen on the same queries. Intervals: paired bootstrap
over queries, seeds averaged per query first.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import finish, say
from nightshift.compute import set_up_torch
from nightshift.intervals import paired_bootstrap
from nightshift.lake import Lake
from nightshift.recommend.model import checkpoint
from nightshift.recommend.samples.texts import embedding
from nightshift.recommend.search import plan as search_plan
from nightshift.recommend.search.hybrid import Plan, search_scores
from nightshift.recommend.search.learning import catalogue_of
from nightshift.recommend.search.queries import Asked, Catalogue, Pairs, Tower
from nightshift.searches import METRICS, Queries, quality, rank_by
from nightshift.settings import Settings
from nightshift.text.bm25 import Indexes

FOLDS = 5
LEARN, SPLIT = 0.6, "0"
"""Of the split: the share of the queries that are learnt from, and what its digests begin with. The
design was made on these queries alone; the others are the slice `untouched` of `folds`."""
BOOTSTRAP_SEED = 12345
HYBRID = "hybrid"
PARTS = {
    "hybrid_without_tower": {"tower": 0.0, "places": 0.0},
    "hybrid_without_feedback": {"feedback": 0.0},
}
"""What a part is worth: the same plan with it switched off."""
NOTHING_LEARNT = {"tower": 0.0, "places": 0.0, "feedback": 0.0, "method": "weight"}


@dataclass(frozen=True, slots=True)
class Data:
    """The file as a catalogue, queries with graded titles, and both encoded."""

    titles: list[str]
    queries: Queries
    title_vectors: np.ndarray[Any, np.dtype[np.float32]]  # [titles, width]
    query_vectors: np.ndarray[Any, np.dtype[np.float32]]  # [queries, width]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="CrowdFlower's train.csv or train.csv.gz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a tower (default: as a night's)")
    parser.add_argument("--home", type=Path, help="a folder to use and keep: embeddings stay there")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ns-search-") as scratch:
        home = str(asked.home or scratch)
        settings = Settings.shipped({"home": home, "compute": {"device": "cpu"}})
        set_up_torch(settings)
        started = time.monotonic()
        data = read(asked.path, settings)
        say(f"{len(data.titles)} titles, {len(data.queries)} queries with an answer")
        bench = Bench(data, settings, asked.steps or settings.finetune.query_steps)
        rows = bench.run(asked.seeds)
    rows.append({"metric": "wall_seconds", "value": round(time.monotonic() - started, 1)})
    finish("search", "crowdflower", rows)
    return 0


def read(path: Path, settings: Settings) -> Data:
    """Every title; queries with at least one title above the lowest grade."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(newline="") as lines:
        found = list(csv.DictReader(lines))
    titles = sorted({row["product_title"] for row in found})
    code = {title: number for number, title in enumerate(titles)}
    best: dict[tuple[str, int], float] = {}
    for row in found:
        key = (row["query"].strip().lower(), code[row["product_title"]])
        best[key] = max(best.get(key, 0.0), float(row["median_relevance"]) - 1)
    good = sorted((query, item, gain) for (query, item), gain in best.items() if gain > 0)
    texts = sorted({query for query, _, _ in good})
    counts = np.bincount([texts.index(query) for query, _, _ in good])
    queries = Queries(
        texts=texts,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=np.array([item for _, item, _ in good], dtype=np.int32),
        gains=np.array([gain for _, _, gain in good]),
        head=np.zeros(len(texts), dtype=np.bool_),
    )
    encode = embedding(Lake.of(settings), settings)
    return Data(titles, queries, encode(titles), encode(texts))


def part_of(text: str, salt: str) -> float:
    """A text's place in [0, 1), the same on every machine."""
    return int(hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()[:12], 16) / 16**12


class Bench:
    """One catalogue, searched by every arm of every protocol."""

    def __init__(self, data: Data, settings: Settings, steps: int) -> None:
        self.data, self.steps, self._settings = data, steps, settings
        self.indexes = Indexes(data.titles)
        self.untouched = np.array([part_of(q, SPLIT) >= LEARN for q in data.queries.texts])

    def run(self, seeds: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for protocol in ("folds", "split"):
            figures: dict[str, list[np.ndarray[Any, Any]]] = {}
            for seed in range(seeds):
                judged, values, plans = self._judge(protocol, seed)
                for arm, of_arm in values.items():
                    figures.setdefault(arm, []).append(of_arm)
                rows += [
                    {"protocol": protocol, "seed": seed, "part": part, "plan": plan}
                    for part, plan in plans.items()
                ]
                mean = {arm: round(float(v[-1][:, 0].mean()), 4) for arm, v in figures.items()}
                say(f"{protocol} seed {seed}: {len(judged)} queries, NDCG@10 {mean}")
            rows += _rows(protocol, "overall", figures)
            if protocol == "folds":
                some = {arm: [of[self.untouched] for of in v] for arm, v in figures.items()}
                rows += _rows(protocol, "untouched", some)
        return rows

    def _judge(self, protocol: str, seed: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Rows of the judged queries, each arm's metrics of them [judged, 3], and the plans."""
        texts = self.data.queries.texts
        if protocol == "split":
            judged = np.flatnonzero(self.untouched)
            parts = {"test": (~self.untouched, self.untouched)}
        else:
            fold = np.array([int(part_of(text, "folds 0") * FOLDS) for text in texts])
            judged = np.arange(len(texts))
            parts = {f"fold {n}": (fold != n, fold == n) for n in range(FOLDS)}
        out: dict[str, Any] = {}
        plans = {}
        for name, (learnt, asked) in parts.items():
            catalogue, plan, tower = self._learn(np.flatnonzero(learnt), seed)
            plans[name] = {
                "stem": plan.stem,
                "method": plan.method,
                "lexical": plan.lexical,
                "tower": plan.tower,
                "places": plan.places,
                "feedback": plan.feedback,
                "chosen_on": plan.queries,
                "validation": plan.chosen,
            }
            rows = np.flatnonzero(asked)
            for arm, of_arm in self._arms(plan):
                found = self._quality(catalogue, tower, of_arm, rows)
                out.setdefault(arm, np.full((len(texts), found.shape[1]), np.nan))[rows] = found
        return judged, {arm: values[judged] for arm, values in out.items()}, plans

    def _learn(
        self, rows: np.ndarray[Any, np.dtype[np.int64]], seed: int
    ) -> tuple[Catalogue, Plan, Tower]:
        data = self.data
        stored = checkpoint.fresh(
            self._settings.finetune.model,
            data.title_vectors,
            [f"t{number:05}" for number in range(len(data.titles))],
            seed=seed,
        )
        self._whiten = stored.whitening.apply
        catalogue = catalogue_of(stored, stored.features(data.title_vectors), data.title_vectors)
        queries = data.queries.take(rows)
        pairs = Pairs(
            np.repeat(np.arange(len(rows)), np.diff(queries.indptr)),
            queries.items.astype(np.int64),
            (queries.gains / queries.gains.max()).astype(np.float32),
        )
        past = search_plan.Past(
            self._asked(rows), queries.texts, pairs, queries, np.arange(len(rows))
        )
        plan, tower = search_plan.fit(catalogue, self.indexes, past, steps=self.steps, seed=seed)
        return catalogue, plan, tower

    def _asked(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Asked:
        vectors = self.data.query_vectors[rows]
        return Asked(torch.from_numpy(vectors), torch.from_numpy(self._whiten(vectors)))

    def _arms(self, plan: Plan) -> Iterator[tuple[str, Plan]]:
        plain = replace(plan, **NOTHING_LEARNT)
        yield "bm25_whole_words", replace(plain, lexical=1.0, stem="none")
        yield "bm25", replace(plain, lexical=1.0)
        yield "minilm", replace(plain, lexical=0.0)
        yield "fusion", replace(plain, lexical=plan.fusion)
        yield HYBRID, plan
        for name, off in PARTS.items():
            yield name, replace(plan, **off)

    def _quality(
        self,
        catalogue: Catalogue,
        tower: Tower,
        plan: Plan,
        rows: np.ndarray[Any, np.dtype[np.int64]],
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        def score(some: Any) -> Any:
            words = self.indexes[plan.stem].scores([self.data.queries.texts[q] for q in some])
            return search_scores(catalogue, tower, plan, self._asked(some), words)

        ranked = rank_by(score, rows, len(catalogue))
        return quality(ranked, self.data.queries.take(rows))


def _rows(protocol: str, slice_: str, figures: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Means of each arm, by seed where they differ, and the hybrid against every other."""
    mean = {arm: np.mean(values, axis=0) for arm, values in figures.items()}
    for arm, values in mean.items():
        for column, metric in enumerate(METRICS):
            yield _row(protocol, slice_, arm, metric, values[:, column])
            seeds = [of_seed[:, column] for of_seed in figures[arm]]
            if np.ptp([one.mean() for one in seeds]) > 0:
                for seed, one in enumerate(seeds):
                    yield _row(protocol, slice_, arm, metric, one) | {"seed": seed}
    for arm in mean:
        if arm == HYBRID:
            continue
        for column, metric in enumerate(METRICS):
            ours, theirs = mean[HYBRID][:, column], mean[arm][:, column]
            found = paired_bootstrap(ours - theirs, theirs, seed=BOOTSTRAP_SEED)
            yield {
                "protocol": protocol,
                "arm": HYBRID,
                "against": arm,
                "slice": slice_,
                "metric": metric,
                "value": round(found.value, 5),
                "value_ci95": [round(found.value_low, 5), round(found.value_high, 5)],
                "relative": found.relative,
                "ci95": [found.low, found.high],
                "n": found.n,
            }


def _row(protocol: str, slice_: str, arm: str, metric: str, values: Any) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "arm": arm,
        "slice": slice_,
        "metric": metric,
        "value": round(float(values.mean()), 5),
        "n": len(values),
    }


if __name__ == "__main__":
    raise SystemExit(main())
