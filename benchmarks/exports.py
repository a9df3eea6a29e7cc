"""What an export costs in quality, and what it gains in speed and size.

    make bench NAME=exports ARGS='--interactions interactions.csv.gz --items items.csv.gz'

A model is trained here, for a few hundred steps, on the Amazon files named: of every customer with
two purchases or more, the last is held out, the one before ends the history. Every format is
written, loaded again and ranks the whole catalogue for the same customers, bought items left out;
NDCG@10 and Recall@10 are compared with the stored model's by customer (10,000 resamples). Speed is
histories in, ids out, the arms taking turns; size is all files of the folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import timing_measures as timing
from benchmarks.common import finish, say
from nightshift import metrics
from nightshift.compute import set_up_torch
from nightshift.histories import Histories
from nightshift.ranking import Ranker
from nightshift.recommend.exports import exported
from nightshift.recommend.exports.layout import FORMATS
from nightshift.recommend.exports.write import export
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.arms import known_items
from nightshift.recommend.training.loop import IdDeltas, train
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.windows import Windows
from nightshift.settings import Settings
from nightshift.store.loaders import amazon
from nightshift.text.encoder import Encoder

K, SEED = 10, 12345
STORED = "stored model"


def read(asked: argparse.Namespace) -> tuple[Histories, Histories, list[str], list[str]]:
    """Histories without the last purchase, the last purchases, item ids and their titles."""
    tables = amazon.read(interactions=asked.interactions, items=asked.items).tables
    items = pl.concat(tables["items"]).select("item_id", "title").sort("item_id")
    codes = items.select("item_id").with_row_index("item")
    events = (
        pl.concat(tables["events"])
        .join(codes, on="item_id")
        .sort("user_id", "occurred_at", "row")
        .unique(["user_id", "item"], keep="first", maintain_order=True)
        .with_columns(
            left=pl.len().over("user_id") - 1 - pl.int_range(pl.len()).over("user_id"),
            all=pl.len().over("user_id"),
            time=pl.col("occurred_at").dt.epoch("us"),
        )
        .filter(pl.col("all") > 1)
        .with_columns(user=pl.col("user_id").rank("dense").cast(pl.Int64) - 1)
    )
    n_users = events["user"].n_unique()

    def histories(rows: pl.DataFrame) -> Histories:
        columns = [rows[name].to_numpy() for name in ("user", "item", "time")]
        return Histories.from_codes(*columns, n_users=n_users)

    before, last = events.filter(pl.col("left") > 0), events.filter(pl.col("left") == 0)
    texts = items["title"].fill_null("").to_list()
    return histories(before), histories(last), items["item_id"].to_list(), texts


def trained(
    past: Histories, item_ids: list[str], texts: list[str], asked: argparse.Namespace
) -> ModelRanker:
    """A model of the default size."""
    settings = Settings.shipped({"compute": {"threads": asked.threads, "device": "cpu"}})
    set_up_torch(settings)
    fine = settings.finetune
    vectors = Encoder(settings).encode(texts)
    stored = checkpoint.fresh(fine.model, vectors, item_ids, seed=0)
    data = TrainingSet(Windows.cover(past, fine.model.max_length), known_items(past))
    plan = Plan(
        steps=asked.steps,
        learning_rate=fine.learning_rate,
        batch=fine.batch,
        negatives=fine.negatives,
        seed=0,
    )
    train(
        stored.model,
        IdDeltas(stored.deltas),
        torch.from_numpy(stored.features(vectors)),
        data,
        plan,
    )
    return ModelRanker(stored, vectors, beta=asked.beta)


def figures(found: Ranker, past: Histories, wanted: Histories) -> dict[str, np.ndarray]:
    """Per customer."""
    codes, _ = found.top_k(past, K, candidates=None, exclude_seen=True)
    hit = metrics.hits(codes, wanted.indptr, wanted.items)
    return {
        f"ndcg@{K}": metrics.ndcg(hit, wanted.lengths),
        f"recall@{K}": metrics.recall(hit, wanted.lengths),
    }


def quality(
    arms: dict[str, Ranker], past: Histories, wanted: Histories
) -> Iterator[dict[str, Any]]:
    """Each arm's means, and its difference from the stored model by customer."""
    base = figures(arms[STORED], past, wanted)
    for name, found in arms.items():
        values = figures(found, past, wanted)
        for metric, each in values.items():
            row = {"arm": name, "slice": "overall", "metric": metric, "n": len(each)}
            yield row | {"value": round(float(each.mean()), 6)}
            if name == STORED:
                continue
            lift = metrics.paired_bootstrap(each - base[metric], base[metric], seed=SEED)
            say(f"  {name}: {metric} {each.mean():.5f}, {lift.relative:+.4%} of the stored model's")
            yield row | {
                "against": STORED,
                "value": round(lift.value, 8),
                "relative": None if lift.relative is None else round(lift.relative, 6),
                "ci95": None if lift.low is None else [round(lift.low, 6), round(lift.high, 6)],
            }


def sizes(folder: Path, formats: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in formats:
        size = sum(path.stat().st_size for path in (folder / name).iterdir())
        say(f"  {name}: {size:,} bytes")
        yield {"arm": name, "slice": "overall", "metric": "bytes", "value": size, "n": 1}


def speed(
    arms: dict[str, Ranker], past: Histories, asked: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    rows = np.random.default_rng(0).choice(len(past), min(asked.users, len(past)), replace=False)
    users = past.take(np.sort(rows))

    def seconds(found: Ranker) -> float:
        started = time.perf_counter()
        found.top_k(users, K, candidates=None, exclude_seen=True)
        return time.perf_counter() - started

    turns = {name: (lambda one=found: seconds(one)) for name, found in arms.items()}
    rates = timing.take_turns(turns, asked.repeats, per=len(users))
    pairs = [(name, "float32") for name in arms if name != "float32"]
    yield from timing.rows(rates, pairs, slice_="overall", n=len(users))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=exports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--interactions", type=Path, required=True, help="user, item, timestamp")
    parser.add_argument("--items", type=Path, required=True, help="item, title")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--steps", type=int, default=600, help="of training (600)")
    parser.add_argument("--beta", type=float, default=7.5, help="text blend (7.5)")
    parser.add_argument("--users", type=int, default=2048, help="ranked for speed (2048)")
    parser.add_argument("--repeats", type=int, default=9, help="of every arm (9)")
    parser.add_argument("--threads", type=int, default=2, help="of torch and onnxruntime (2)")
    asked = parser.parse_args(argv)
    past, wanted, item_ids, texts = read(asked)
    say(f"{len(past):,} customers, {len(item_ids):,} items")
    ranker = trained(past, item_ids, texts, asked)
    arms: dict[str, Ranker] = {STORED: ranker}
    with tempfile.TemporaryDirectory(prefix="nightshift-") as made:
        folder = Path(made)
        for to in asked.formats:
            export(ranker, folder / to, to, source={"bench": "exports"})
            arms[to] = exported.load(folder / to, item_ids=item_ids, threads=asked.threads)
        rows = [*sizes(folder, asked.formats), *quality(arms, past, wanted)]
        rows += speed(arms, past, asked)
    finish(
        "exports", asked.interactions.parent.name, [r | {"threads": asked.threads} for r in rows]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
