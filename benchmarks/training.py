"""Training side by side with RecTools' SASRec: examples a second, and memory as the events grow.

    make bench NAME=training ARGS='FILE --peers PYTHON'

`FILE` is one of S3-Rec's: a user a line, items in order. Both train a model of the same size (64
dims, two layers, two heads, 50 positions, 128 users a step) on the same threads, each in a process
of its own, for the same number of steps, taking turns. An example is one item predicted from what
was before it; RecTools fills every history up to 50 positions. `PYTHON` is an interpreter that has
`rectools[torch]`. Memory is the peak of the process, on the file's events once, 4 and 16 times
(the users again under other names), less what it had with its libraries loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import finish, say
from benchmarks.loo_measures import Split

DIM, LAYERS, HEADS, LENGTH, BATCH, DROPOUT = 64, 2, 2, 50, 128, 0.2
PEER = "rectools sasrec"
ARMS = {
    "nightshift, 256 negatives": {"negatives": 256, "full_softmax": 0},
    "nightshift, 1024 negatives": {"negatives": 1024, "full_softmax": 0},
    "nightshift, every item": {"negatives": 0, "full_softmax": 1 << 30},
}
THEIRS = {
    "n_factors": DIM,
    "n_blocks": LAYERS,
    "n_heads": HEADS,
    "session_max_len": LENGTH,
    "batch_size": BATCH,
    "dropout_rate": DROPOUT,
    "loss": "sampled_softmax",
    "n_negatives": 256,
}
"""256 negatives: what github.com/blondered/transformer_benchmark chose on this very file."""


def ours(path: Path, task: dict[str, Any]) -> dict[str, Any]:
    """One run in this process."""
    import torch

    from nightshift.compute import bind_torch, precision
    from nightshift.recommend.model import checkpoint
    from nightshift.recommend.model.id_deltas import IdDeltas
    from nightshift.recommend.samples.arms import known_items
    from nightshift.recommend.training.loop import train
    from nightshift.recommend.training.steps import Plan, TrainingSet
    from nightshift.recommend.training.windows import Windows
    from nightshift.settings import ModelSettings

    bind_torch(task["threads"])
    before = _peak()
    split = Split.read(path).times(task["times"])
    settings = ModelSettings(
        dim=DIM, layers=LAYERS, heads=HEADS, max_length=LENGTH, dropout=DROPOUT, features=0
    )
    names = [str(code) for code in range(split.n_items)]
    stored = checkpoint.fresh(settings, np.zeros((split.n_items, 1), np.float32), names, seed=0)
    windows = Windows.cover(split.before(2), LENGTH)
    data = TrainingSet(windows, known_items(windows.histories))
    plan = Plan(
        steps=task["batches"],
        learning_rate=1e-3,
        batch=BATCH,
        seed=0,
        precision=precision("auto", torch.device("cpu"), DIM),
        **task["options"],
    )
    empty = torch.zeros(split.n_items, 0)
    # RecTools' clock starts behind its first batch's making, ours at the very start.
    started = time.perf_counter()
    train(stored.model, IdDeltas(stored.deltas), empty, data, plan)
    seconds = time.perf_counter() - started
    share = task["batches"] * BATCH / len(windows)
    examples = share * int(split.before(2).lengths.sum())
    return {"examples": examples, "loop_seconds": seconds, "bytes": _peak() - before}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(asked: argparse.Namespace, arm: str, times: int, batches: int) -> dict[str, Any]:
    """One arm in a process of its own."""
    task = {"threads": asked.threads, "times": times, "batches": batches, "seed": 0}
    with tempfile.TemporaryDirectory(prefix="nightshift-") as made:
        folder = Path(made)
        if arm != PEER:
            task["options"] = ARMS[arm]
            command = [sys.executable, "-m", "benchmarks.training", str(asked.file)]
            command += ["--worker", json.dumps(task)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found
        task |= {"peer": "sasrec", "options": THEIRS, "k": 10, "seen": True}
        (folder / "task.json").write_text(json.dumps(task))
        _write(Split.read(asked.file).times(times), folder)
        script = Path(__file__).parent / "peers" / "sequences.py"
        subprocess.run(
            [str(asked.peers), str(script), str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        found = json.loads((folder / "done.json").read_text())
        return found | {"bytes": found["peak_bytes"] - found["peak_bytes_before"]}


def _write(split: Split, folder: Path) -> None:
    """What the peer learns from, as files."""
    histories = split.before(2)
    lengths = histories.lengths
    users = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(users)) - np.repeat(histories.indptr[:-1], lengths)
    frame = pl.DataFrame({"user": users, "item": histories.items, "position": place})
    frame.write_csv(folder / "train.csv")
    frame.select("user").head(1).write_csv(folder / "users.csv")
    frame.select("item").unique().write_csv(folder / "items.csv")


def run(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of every arm, ratios, and how memory and speed grow."""
    arms = [PEER, *ARMS]
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    rows: list[dict[str, Any]] = []
    for repeat in range(asked.repeats):
        for arm in arms if repeat % 2 == 0 else arms[::-1]:
            found = measured(asked, arm, 1, asked.peer_steps if arm == PEER else asked.steps)
            rates[arm].append(found["examples"] / found["loop_seconds"])
            say(f"{arm}: {rates[arm][-1]:,.0f} examples/s")
    n = asked.repeats
    for arm in arms:
        values = rates[arm]
        rows.append(
            {"arm": arm, "slice": "overall", "metric": "examples_per_second", "n": n,
             "value": round(statistics.median(values), 1),
             "range": [round(min(values), 1), round(max(values), 1)]}
        )  # fmt: skip
        if arm == PEER:
            continue
        ratios = [mine / theirs for mine, theirs in zip(values, rates[PEER], strict=True)]
        say(f"{arm} / {PEER}: {statistics.median(ratios):.1f}")
        rows.append(
            {"arm": arm, "against": PEER, "slice": "overall", "metric": "examples_per_second",
             "value": round(statistics.median(values) - statistics.median(rates[PEER]), 1),
             "relative": round(statistics.median(ratios) - 1, 3),
             "range": [round(min(ratios) - 1, 3), round(max(ratios) - 1, 3)], "n": n}
        )  # fmt: skip
    for times in (1, 4, 16):
        for arm in (PEER, "nightshift, 1024 negatives"):
            steps = asked.peer_steps if arm == PEER else asked.steps
            found = measured(asked, arm, times, steps)
            megabytes = found["bytes"] / 2**20
            rate = found["examples"] / found["loop_seconds"]
            say(f"{arm}, events x {times}: {megabytes:,.0f} MiB, {rate:,.0f} examples/s")
            base = {"arm": arm, "slice": f"events x {times}", "n": 1}
            rows += [
                base | {"metric": "peak_mebibytes", "value": round(megabytes, 1)},
                base | {"metric": "examples_per_second", "value": round(rate, 1)},
            ]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--peers", type=Path, help="an interpreter that has rectools[torch]")
    parser.add_argument("--steps", type=int, default=200, help="of ours (200)")
    parser.add_argument("--peer-steps", type=int, default=20, help="of the peer (20)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.worker is not None:
        print(json.dumps(ours(asked.file, asked.worker)))
        return 0
    if asked.peers is None:
        parser.error("--peers PYTHON is needed")
    finish("training", asked.file.name, run(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
