"""How fast a catalogue is ranked, against the product itself and against faiss; memory by users.

    make bench NAME=scoring ARGS='--peers PYTHON'

One model of the default size over a made-up catalogue, β on. Arms take turns in one process, on the
same matrices and threads:

  top_k     histories in, ids out: the encoder, the text profile, the product, masks, the k best
  ranking   its second half: from states and profiles to ids, without masks
  limit     a plain matrix product and torch.topk, in blocks of as many users, into one buffer
  faiss     IndexFlatIP in the interpreter that --peers names, on the very matrices

Ids are compared with faiss's: what differs must have the same score. Memory is the peak of a
process of its own for each number of users, from when the model is loaded (`before_mb`); it writes
its lists to a file as the stage does.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import torch

from benchmarks import timing_measures as timing
from benchmarks.common import PROJECT, finish, say
from nightshift.histories import Histories
from nightshift.ranking import top_of_tiles
from nightshift.recommend import ranker
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.settings import ModelSettings

DATA = "made up: random texts, histories of 9 items on average"
K, BETA, WIDTH = 20, 7.5, 384
MEAN_LENGTH = 9
"""Of a history, as in Amazon Beauty."""
MASKED = {"candidates": None, "exclude_seen": True}
SAME_SCORE = 1e-5
"""Relative: scores nearer than this are one score, summed in another order."""
PEER = PROJECT / "benchmarks" / "peers" / "faiss_flat.py"


def made_up_ranker(items: int) -> ModelRanker:
    """The default model, untrained: what it ranks does not change what it costs."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(items, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"item-{code:07}" for code in range(items)]
    stored = checkpoint.fresh(ModelSettings(), vectors, names, seed=0)
    return ModelRanker(stored, vectors, beta=BETA)


def made_up_histories(users: int, items: int) -> Histories:
    """Geometric lengths, any item as likely as another."""
    generator = np.random.default_rng(1)
    lengths = generator.geometric(1 / MEAN_LENGTH, users)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    codes = generator.integers(0, items, indptr[-1]).astype(np.int32)
    return Histories(indptr, codes, np.arange(len(codes), dtype=np.int64))


class Bench:
    """One catalogue: its arms."""

    def __init__(self, items: int, users: int) -> None:
        self.ranker = made_up_ranker(items)
        self.histories = made_up_histories(users, items)
        self.items, self.users = items, users
        self.tile = min(ranker._TILE, items)
        self.block = max(1, ranker._BLOCK_CELLS // self.tile)
        parts = [self.histories.take(rows) for rows in self.blocks()]
        self.asked = [(part, self.ranker.scores_of(part)) for part in parts]
        profiles = np.float32(BETA) * self.ranker.text_profiles(self.histories)
        self.queries = np.concatenate([self.ranker.states(self.histories), profiles], axis=1)
        self.wide = np.concatenate([self.ranker.placed.numpy(), self.ranker.shown], axis=1)

    def blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, self.users, self.block):
            yield np.arange(start, min(start + self.block, self.users))

    def top_k(self) -> float:
        return timed(lambda: self.ranker.top_k(self.histories, K, **MASKED))

    def ranking(self) -> float:
        return timed(self.ids)

    def ids(self) -> np.ndarray:
        """Of every user, without masks: [users, k]."""
        found = [
            top_of_tiles(
                scores_of,
                part,
                self.items,
                K,
                candidates=None,
                exclude_seen=False,
                tile=self.tile,
            )[0]
            for part, scores_of in self.asked
        ]
        return np.concatenate(found)

    def limit(self) -> float:
        queries, items = torch.from_numpy(self.queries), torch.from_numpy(self.wide).T
        buffer = torch.empty(min(self.block, self.users), self.items)

        def run() -> None:
            for rows in self.blocks():
                scores = torch.mm(queries[rows[0] : rows[-1] + 1], items, out=buffer[: len(rows)])
                torch.topk(scores, K, dim=1)

        return timed(run)


class Faiss:
    """The peer's process, which waits for its turn asleep."""

    def __init__(self, python: Path, bench: Bench, threads: int, folder: Path) -> None:
        self.folder = folder
        np.save(folder / "wide.npy", bench.wide)
        np.save(folder / "queries.npy", bench.queries)
        self.process = subprocess.Popen(
            [str(python), str(PEER), str(folder), str(K), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._line().split()[1]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the peer ended; does the interpreter of --peers have faiss-cpu?")
        return line

    def search(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._line())

    def ids(self) -> np.ndarray:
        return np.load(self.folder / "faiss_ids.npy")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def speed(asked: argparse.Namespace, items: int) -> Iterator[dict[str, Any]]:
    """Rows of every arm and pair for one size of the catalogue."""
    say(f"{items:,} items, {asked.users:,} users, {asked.threads} threads")
    bench = Bench(items, asked.users)
    arms = {"top_k": bench.top_k, "ranking": bench.ranking, "limit": bench.limit}
    name = f"{items} items"
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
        peer = None
        if asked.peers is not None:
            peer = Faiss(asked.peers, bench, asked.threads, Path(folder))
            arms["faiss"] = peer.search
            yield from agreement(bench, peer, name)
        rates = timing.take_turns(arms, asked.repeats, per=asked.users)
        if peer is not None:
            peer.close()
    pairs = [("ranking", "limit"), ("top_k", "limit"), ("ranking", "faiss"), ("top_k", "faiss")]
    yield from timing.rows(rates, pairs, slice_=name, n=asked.users)


def agreement(bench: Bench, peer: Faiss, name: str) -> Iterator[dict[str, Any]]:
    """The share of faiss's ids that are ours, as sets; what differs, up to equal scores."""
    ours, theirs = bench.ids(), peer.ids()
    same = np.array([len(set(a) & set(b)) for a, b in zip(ours, theirs, strict=True)])

    def scores(ids: np.ndarray) -> np.ndarray:
        rows = bench.wide[ids].astype(np.float64)  # [users, k, d]
        return np.sort(np.einsum("ud,ukd->uk", bench.queries.astype(np.float64), rows), axis=1)

    differ = np.flatnonzero(same < K)
    gap = np.abs(scores(ours[differ]) / scores(theirs[differ]) - 1) if len(differ) else np.zeros(1)
    for metric, value in (
        ("recall_at_k", same.sum() / (K * len(same))),
        ("recall_at_k_up_to_equal_scores", 1 - (gap > SAME_SCORE).sum() / (K * len(same))),
    ):
        yield {
            "arm": "ranking",
            "against": f"faiss {peer.version}",
            "slice": name,
            "metric": metric,
            "value": round(float(value), 8),
            "n": len(same),
        }


def memory(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Peak memory of a process of its own for 1, 4 and 16 times the users."""
    for times in (1, 4, 16):
        users = asked.memory_users * times
        options = {"child": users, "items": asked.items[0], "threads": asked.threads}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scoring"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        say(f"  {users:,} users: {found}")
        for key, metric in (
            ("peak", "peak_mb"),
            ("before", "before_mb"),
            ("histories", "histories_mb"),
        ):
            yield {
                "arm": "top_k",
                "slice": f"{times}x users",
                "metric": metric,
                "value": round(found[key], 1),
                "n": users,
            }


def child(items: int, users: int) -> None:
    """Rank everybody, block by block into a Parquet file; print the peak in MB."""
    ranking, histories = made_up_ranker(items), made_up_histories(users, items)
    before = forget_peak()
    held = sum(array.nbytes for array in (histories.indptr, histories.items, histories.times))
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
        stream = None
        for start in range(0, users, 512):
            rows = np.arange(start, min(start + 512, users))
            codes, scores = ranking.top_k(histories.take(rows), K, **MASKED)
            table = pl.DataFrame(
                {"user": np.repeat(rows, K), "item": codes.ravel(), "score": scores.ravel()}
            ).to_arrow()
            stream = stream or pq.ParquetWriter(Path(folder) / "lists.parquet", table.schema)
            stream.write_table(table)
        if stream is not None:
            stream.close()
    found = {"peak": peak_mb(), "before": before, "histories": held / 2**20}
    print(json.dumps(found))


def forget_peak() -> float:
    """Let the peak start from what is held now, and return that in MB: making the model costs more
    than ranking with it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def peak_mb() -> float:
    """Of this process's resident memory, as the kernel has it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=scoring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, nargs="+", default=[12_000, 100_000])
    parser.add_argument("--users", type=int, default=4096, help="in one repeat (4096)")
    parser.add_argument("--repeats", type=int, default=9, help="of every arm (9)")
    parser.add_argument("--threads", type=int, default=2, help="of torch and faiss (2)")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="interpreter with faiss-cpu")
    parser.add_argument("--memory-users", type=int, default=10_000, help="1x; 0: skip (10000)")
    parser.add_argument("--child", type=int, metavar="USERS", help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    torch.set_num_threads(asked.threads)
    if asked.child is not None:
        child(asked.items[0], asked.child)
        return 0
    rows = [row for items in asked.items for row in speed(asked, items)]
    if asked.memory_users:
        rows += memory(asked)
    finish("scoring", DATA, [row | {"threads": asked.threads} for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
