"""Leave-one-out on the files behind published figures, every item ranked.

    make bench NAME=loo ARGS='FILE… --seeds 0 1 2'
    make bench NAME=loo ARGS='interactions.csv.gz --items items.csv.gz --peers PYTHON'

A text `FILE` is one of S3-Rec's (Zhou et al., 2020): a user a line, items in order; items are ids
alone, without text and without samples. A CSV has user_id, item_id and timestamp, and with
`--items` (item_id, title) items have text. A user's last item is the test item, the one before it
the validation item; the history is masked. Nothing is trained on the validation items, which stand
in the history when the test items are ranked. Hyperparameters are `CHOSEN` and `WITH_TEXT`: by
NDCG@10 of the validation items (`--validate` with `--set` tries others, and says nothing of the
test items). `PYTHON` has `rectools[torch]`. A finished run is kept in `--home` and not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from benchmarks.common import finish, say
from benchmarks.loo_measures import K, Split, judged
from benchmarks.peer_lists import EPOCHS, Peers, changed
from nightshift.compute import bind_torch, precision
from nightshift.lake import Lake
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking.followers import followers_of
from nightshift.recommend.samples.arms import known_items
from nightshift.recommend.samples.texts import embedding
from nightshift.recommend.training.loop import train
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import Windows
from nightshift.settings import ModelSettings, Settings

OURS = "nightshift"
CHOSEN: dict[str, float | str] = {
    "dim": 256, "layers": 1, "heads": 1, "dropout": 0.2, "layer": "sasrec", "feedforward": 1,
    "item_dropout": 0.2, "negatives": 0, "mass": 256, "epochs": 12, "batch": 128, "rate": 1e-3,
    "average": 0.998, "falls": 1, "features": 0, "id_norm": 1.0, "id_dropout": 0.0,
}  # fmt: skip
WITH_TEXT = CHOSEN | {"features": 384}
BETAS = (0.0, 2.5, 5.0, 10.0, 20.0)
"""Serve-time text blends tried on the validation items, with text."""
FOLLOWS = (0.0, 2.0, 5.0, 10.0, 20.0)
"""Weights of what followed the last items, tried on the validation items."""
PUBLISHED = {"Beauty": (0.0928, 0.0531), "Sports_and_Outdoors": (0.0569, 0.0323)}
"""The best published Recall@10 and NDCG@10 of SASRec with sampled softmax and of eSASRec:
github.com/blondered/transformer_benchmark."""
_MODEL = (
    "dim", "layers", "heads", "dropout", "item_dropout", "layer", "feedforward", "features",
    "id_norm", "id_dropout",
)  # fmt: skip
_WHOLE = ("dim", "layers", "heads", "feedforward", "features")
_LENGTH = 50
_VALIDATION, _TEST = 2, 1
"""How far from the end the judged item is."""
Floats = npt.NDArray[np.float32]


class Data(NamedTuple):
    """A file, and what is known of its items."""

    path: Path
    split: Split
    vectors: Floats | None
    """Sentence embeddings [items, width]; None: items are ids alone."""


def trained(
    split: Split, wanted: dict[str, Any], seed: int, vectors: Floats | None = None
) -> tuple[checkpoint.Checkpoint, Floats]:
    """A model that has seen everything but validation and test, and the embeddings it reads."""
    settings = ModelSettings(**{name: wanted[name] for name in _MODEL}, max_length=_LENGTH)
    if vectors is None:
        vectors = np.zeros((split.n_items, 1), dtype=np.float32)
    names = [str(name) for name in split.names]
    stored = checkpoint.fresh(settings, vectors, names, seed=seed)
    histories = split.before(_VALIDATION)
    windows = Windows.cover(histories, _LENGTH)
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
        precision=precision("auto", torch.device("cpu"), settings.dim),
        label=f"seed {seed}",
    )
    data = TrainingSet(windows, known_items(histories))
    features = torch.from_numpy(stored.features(vectors))
    train(stored.model, IdDeltas(stored.deltas), features, data, plan)
    return stored, vectors


def ours(
    split: Split, wanted: dict[str, Any], seed: int, vectors: Floats | None
) -> dict[str, dict[str, float]]:
    """Figures of one seed, and of its network alone.

    The weights it ranks with are chosen on the validation items, one after the other.
    """
    stored, embeddings = trained(split, wanted, seed, vectors)
    followers = followers_of(split.before(_VALIDATION), split.n_items)
    weights = {"beta": 0.0, "follow": 0.0}
    tried: dict[tuple[float, ...], dict[str, float]] = {}

    def ranker(**weights: float) -> ModelRanker:
        return ModelRanker(stored, embeddings, followers=followers, **weights)

    def merit(asked: dict[str, float]) -> float:
        key = tuple(asked.values())
        if key not in tried:
            tried[key] = figures(split, ranker(**asked), _VALIDATION)
        return tried[key][f"ndcg@{K}"]

    for name, values in (("beta", BETAS if wanted["features"] else (0.0,)), ("follow", FOLLOWS)):
        weights[name] = max(values, key=lambda value: (merit(weights | {name: value}), -value))
    alone = {"beta": weights["beta"], "follow": 0.0}
    return {
        "weights": weights,
        "validation": tried[tuple(weights.values())],
        "test": figures(split, ranker(**weights), _TEST),
        "network": {
            "validation": tried[tuple(alone.values())],
            "test": figures(split, ranker(**alone), _TEST),
        },
    }


def figures(split: Split, ranker: ModelRanker, last: int) -> dict[str, float]:
    codes, _ = ranker.top_k(split.before(last), K, candidates=None, exclude_seen=True)
    return judged(codes, split.target(last))


def theirs(
    data: Data, peers: Peers, name: str, options: dict[str, Any], seed: int
) -> dict[str, Any]:
    """The same of a peer; its epochs are chosen on the validation items.

    It learns what lies before them, and once chosen nothing more, as ours: RecTools ranks for the
    histories it has learnt, so the test items are ranked by a model that has read, and learnt, the
    validation items too. That favours it.
    """

    split = data.split

    def judged_after(last: int, epochs: Sequence[int]) -> list[dict[str, float]]:
        learnt = split.before(last)
        lists = peers.lists(
            f"{data.path.name} before {last}",
            name,
            options,
            seed,
            learnt=learnt,
            users=np.flatnonzero(learnt.lengths),
            exclude_seen=True,
            epochs=epochs,
        )
        return [judged(codes, split.target(last)) for codes in lists]

    tried = dict(zip(EPOCHS, judged_after(_VALIDATION, EPOCHS), strict=True))
    best = max(tried, key=lambda epochs: tried[epochs][f"ndcg@{K}"])
    return {"validation": tried[best], "test": judged_after(_TEST, [best])[0], "epochs": best}


def run(asked: argparse.Namespace, wanted: dict[str, Any], data: Data, arm: str, seed: int) -> Any:
    """One arm's figures of one seed, from `--home` if they are there."""
    theirs_set = changed(asked.peer_set)
    options = [wanted, BETAS, FOLLOWS] if arm == OURS else [theirs_set, EPOCHS]
    body = json.dumps([data.path.name, arm, options, seed], sort_keys=True)
    file = asked.home / f"{hashlib.sha256(body.encode()).hexdigest()[:16]}.json"
    if not file.exists():
        started = time.monotonic()
        if arm == OURS:
            made = ours(data.split, wanted, seed, data.vectors)
        else:
            peers = Peers(asked.peers, asked.home / "peers", asked.threads)
            made = theirs(data, peers, arm, theirs_set, seed)
        seconds = round(time.monotonic() - started, 1)
        file.write_text(json.dumps(made | {"seconds": seconds}))
    return json.loads(file.read_text())


def embedded(split: Split, items: Path, home: Path, threads: int) -> Floats:
    """Sentence embeddings of the titles [items, width]; an item without one has an empty text."""
    settings = Settings.shipped(
        {"home": str(home), "lake": {"root": None}, "compute": {"threads": threads}}
    )
    titles = pl.read_csv(items)
    known = pl.DataFrame({"item_id": split.names}).join(
        titles.with_columns(pl.col("item_id").cast(pl.Int64)),
        on="item_id",
        how="left",
        maintain_order="left",
    )
    return embedding(Lake.of(settings), settings)(known["title"].fill_null("").to_list())


def rows_of(
    data: Data, arm: str, found: dict[int, dict[str, Any]], part: str
) -> list[dict[str, Any]]:
    """A row for every seed, and their mean."""
    name = data.path.name.split(".")[0]
    base = {"data": name, "slice": part, "n": len(data.split.indptr) - 1}
    rows: list[dict[str, Any]] = []
    for metric in (f"recall@{K}", f"ndcg@{K}"):
        values = {seed: each[part][metric] for seed, each in found.items()}
        rows += [
            base | {"arm": arm, "metric": metric, "value": round(v, 5), "seed": seed}
            for seed, v in values.items()
        ]
        mean = float(np.mean(list(values.values())))
        spread = float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None
        mine = {"arm": arm, "metric": metric, "value": round(mean, 5), "seeds": len(values)}
        rows.append(base | mine)
        say(f"{name} {arm} {part} {metric}: {mean:.4f} (standard deviation of seeds {spread})")
        if name in PUBLISHED and part == "test":
            value = PUBLISHED[name][metric.startswith("ndcg")]
            rows.append(base | {"arm": "best published", "metric": metric, "value": value})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=loo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--items", type=Path, help="titles of the items of a CSV")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--home", type=Path, default=Path(".nightshift/loo"), help="kept runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="not as chosen")
    parser.add_argument("--validate", action="store_true", help="say nothing of the test items")
    parser.add_argument("--peers", type=Path, help="an interpreter with rectools[torch]")
    parser.add_argument("--arms", nargs="+", default=["sasrec", "esasrec"], help="which peers")
    parser.add_argument("--peer-set", nargs="*", default=[], metavar="NAME=VALUE", help="of theirs")
    asked = parser.parse_args(argv)
    wanted = (WITH_TEXT if asked.items else CHOSEN) | dict(p.split("=", 1) for p in asked.set)
    wanted = {name: value if name == "layer" else float(value) for name, value in wanted.items()}
    wanted |= {name: int(wanted[name]) for name in _WHOLE}
    bind_torch(asked.threads)
    asked.home.mkdir(parents=True, exist_ok=True)
    for path in asked.files:
        rows = []
        split = Split.read(path)
        vectors = None
        if asked.items:
            vectors = embedded(split, asked.items, asked.home, asked.threads)
        data = Data(path, split, vectors)
        for arm in (OURS, *(asked.arms if asked.peers else ())):
            found = {seed: run(asked, wanted, data, arm, seed) for seed in asked.seeds}
            for part in ("validation",) if asked.validate else ("validation", "test"):
                rows += rows_of(data, arm, found, part)
                if arm == OURS:
                    alone = {seed: each["network"] for seed, each in found.items()}
                    rows += rows_of(data, f"{arm}, network alone", alone, part)
        if not asked.validate:
            name = "with-text" if asked.items else path.name.split(".")[0]
            finish(f"loo-{name}", path.name, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
