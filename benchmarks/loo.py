"""Leave-one-out on the files behind the published figures, every item ranked.

    make bench NAME=loo ARGS='FILE… --seeds 0 1 2'

`FILE` is one of S3-Rec's (Zhou et al., 2020): a user a line, items in order. The last is the test
item, the one before it the validation item; the history is masked; items are ids alone, without
text and without samples. Nothing is trained on the validation items, which stand in the history
when the test items are ranked. Hyperparameters are `CHOSEN`: by NDCG@10 of the validation items
(`--validate` with `--set` tries others, and says nothing of the test items). A finished run is
kept in `--home` and not run again.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.common import finish, say
from nightshift import metrics
from nightshift.compute import bind_torch, precision
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.arms import known_items
from nightshift.recommend.training.loop import train
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import Windows
from nightshift.settings import ModelSettings
from nightshift.snapshot import Histories

K = 10
CHOSEN: dict[str, float | str] = {
    "dim": 256, "layers": 1, "heads": 1, "dropout": 0.5, "layer": "sasrec", "feedforward": 4,
    "item_dropout": 0.3, "negatives": 0, "mass": 256, "epochs": 50, "batch": 128, "rate": 1e-3,
    "average": 0.998, "falls": 0,
}  # fmt: skip
PUBLISHED = {"Beauty": (0.0928, 0.0531), "Sports_and_Outdoors": (0.0569, 0.0323)}
"""The best published Recall@10 and NDCG@10 of SASRec with sampled softmax and of eSASRec:
github.com/blondered/transformer_benchmark."""
_MODEL = ("dim", "layers", "heads", "dropout", "item_dropout", "layer", "feedforward")


@dataclass(frozen=True, slots=True)
class Split:
    """Flat items of all users, oldest first, and where each user's lie."""

    items: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Split:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt") as lines:
            rows = [np.array(line.split()[1:], dtype=np.int32) for line in lines]
        ends = np.cumsum([0, *(len(row) for row in rows)])
        _, codes = np.unique(np.concatenate(rows), return_inverse=True)
        return cls(codes.astype(np.int32), ends)

    @property
    def n_items(self) -> int:
        return int(self.items.max()) + 1

    def times(self, copies: int) -> Split:
        """The same users so many times, as if each were several people."""
        lengths = np.tile(np.diff(self.indptr), copies)
        return Split(np.tile(self.items, copies), np.concatenate([[0], np.cumsum(lengths)]))

    def before(self, last: int) -> Histories:
        """Every history without its `last` newest items."""
        lengths = np.diff(self.indptr) - last
        users = np.repeat(np.arange(len(lengths)), lengths)
        rows = np.arange(lengths.sum()) + np.repeat(
            self.indptr[:-1] - np.cumsum(lengths) + lengths, lengths
        )
        nothing = np.zeros(len(rows), dtype=np.int64)
        return Histories.from_codes(users, self.items[rows], nothing, n_users=len(lengths))

    def target(self, last: int) -> npt.NDArray[np.int32]:
        """The item behind `before(last)`: [users]."""
        return self.items[self.indptr[1:] - last]


def trained(split: Split, wanted: dict[str, Any], seed: int) -> ModelRanker:
    """A model that has seen everything but validation and test."""
    length = 50
    settings = ModelSettings(
        **{name: wanted[name] for name in _MODEL}, max_length=length, features=0, id_dropout=0.0
    )
    no_text = np.zeros((split.n_items, 1), dtype=np.float32)
    names = [str(code) for code in range(split.n_items)]
    stored = checkpoint.fresh(settings, no_text, names, seed=seed)
    histories = split.before(2)
    windows = Windows.cover(histories, length)
    batch = int(wanted["batch"])
    plan = Plan(
        steps=-(-len(windows) // batch) * int(wanted["epochs"]),
        learning_rate=float(wanted["rate"]),
        batch=batch,
        negatives=int(wanted["negatives"]),
        seed=seed,
        negative_mass=int(wanted["mass"]),
        average=float(wanted["average"]),
        falls=bool(wanted["falls"]),
        full_softmax=0 if wanted["negatives"] else split.n_items,
        precision=precision("auto", torch.device("cpu")),
        label=f"seed {seed}",
    )
    data = TrainingSet(windows, known_items(histories))
    train(stored.model, IdDeltas(stored.deltas), torch.zeros(split.n_items, 0), data, plan)
    return ModelRanker(stored, no_text, beta=0.0)


def judged(ranker: ModelRanker, split: Split, last: int) -> dict[str, float]:
    """Recall@10 and NDCG@10 of the item `last` from the end, behind everything before it."""
    codes, _ = ranker.top_k(split.before(last), K, candidates=None, exclude_seen=True)
    users = np.arange(len(codes) + 1)
    hit = metrics.hits(codes, users, split.target(last))
    one = np.ones(len(codes), dtype=np.int64)
    return {
        f"recall@{K}": float(metrics.recall(hit, one).mean()),
        f"ndcg@{K}": float(metrics.ndcg(hit, one).mean()),
    }


def run(path: Path, split: Split, wanted: dict[str, Any], seed: int, home: Path) -> dict[str, Any]:
    """One seed's figures, from `home` if they are there."""
    body = json.dumps([path.name, wanted, seed], sort_keys=True)
    kept = home / f"{hashlib.sha256(body.encode()).hexdigest()[:16]}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    started = time.monotonic()
    ranker = trained(split, wanted, seed)
    seconds = time.monotonic() - started
    found = {
        "seconds": round(seconds, 1),
        "validation": judged(ranker, split, 2),
        "test": judged(ranker, split, 1),
    }
    kept.write_text(json.dumps(found))
    return found


def rows_of(
    path: Path, found: dict[int, dict[str, Any]], n_users: int, part: str
) -> list[dict[str, Any]]:
    """A row for every seed, and their mean."""
    data = path.name.split(".")[0]
    base = {"arm": "nightshift", "data": data, "slice": part, "n": n_users}
    rows = []
    for metric in (f"recall@{K}", f"ndcg@{K}"):
        values = {seed: each[part][metric] for seed, each in found.items()}
        rows += [
            base | {"metric": metric, "value": round(v, 5), "seed": seed}
            for seed, v in values.items()
        ]
        mean = float(np.mean(list(values.values())))
        spread = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None
        rows.append(base | {"metric": metric, "value": round(mean, 5), "seeds": len(values)})
        say(f"{data} {part} {metric}: {mean:.4f} (standard deviation of seeds {spread})")
        published = PUBLISHED.get(data)
        if published and part == "test":
            rows.append(
                {"arm": "best published", "data": data, "slice": part, "metric": metric,
                 "value": published[metric.startswith("ndcg")], "n": n_users}
            )  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=loo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--home", type=Path, default=Path(".nightshift/loo"), help="kept runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="instead of CHOSEN"
    )
    parser.add_argument("--validate", action="store_true", help="say nothing of the test items")
    asked = parser.parse_args(argv)
    wanted = CHOSEN | dict(pair.split("=", 1) for pair in asked.set)
    wanted = {name: value if name == "layer" else float(value) for name, value in wanted.items()}
    wanted |= {n: int(wanted[n]) for n in ("dim", "layers", "heads", "feedforward")}
    bind_torch(asked.threads)
    asked.home.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in asked.files:
        split = Split.read(path)
        found = {seed: run(path, split, wanted, seed, asked.home) for seed in asked.seeds}
        for part in ("validation",) if asked.validate else ("validation", "test"):
            rows += rows_of(path, found, len(split.indptr) - 1, part)
    if asked.validate:
        return 0
    finish("loo", ", ".join(path.name for path in asked.files), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
