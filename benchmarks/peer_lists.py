"""Lists that a peer makes in an interpreter of its own: histories out, ranked items back."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.common import say
from nightshift.histories import Histories

DEPTH = 100
"""Items a peer lists of each customer: enough to find ten natural ones among them."""
SASREC = {
    "n_heads": 1, "n_blocks": 1, "n_factors": 128, "dropout_rate": 0.2, "lr": 1e-3,
    "batch_size": 128, "loss": "sampled_softmax", "n_negatives": 256, "session_max_len": 50,
}  # fmt: skip
"""RecTools' SASRec as github.com/blondered/transformer_benchmark sets it, half as wide."""
EPOCHS = (5, 10)
"""Of RecTools' models; which is better is chosen where nothing is judged."""


def changed(settings: Sequence[str]) -> dict[str, Any]:
    """`SASREC` with NAME=VALUE in place of its own."""
    pairs = (each.split("=", 1) for each in settings)
    return SASREC | {name: json.loads(value) for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Peers:
    """Where peers run and what they made is kept."""

    python: Path
    """An interpreter with `rectools[torch]` and `implicit`."""
    home: Path
    threads: int

    def lists(
        self,
        data: str,
        name: str,
        options: dict[str, Any],
        seed: int,
        *,
        learnt: Histories,
        users: npt.NDArray[np.int64],
        exclude_seen: bool,
        epochs: Sequence[int] = (0,),
    ) -> list[npt.NDArray[np.int32]]:
        """What a peer ranks after it has learnt: [users of `learnt`, DEPTH], -1 behind the last.

        A task that was done before is read again.

        Args:
            data: names the histories; a task is found again by it.
            users: whom to rank for; all others' rows are -1.
            epochs: after how many of one fit, ascending, a ranking of each; (0,) for a peer that
                counts none.

        Raises:
            CalledProcessError: the peer failed; its folder has a log.
        """
        task = {"peer": name, "options": options, "seed": seed, "seen": exclude_seen, "k": DEPTH}
        task["epochs"] = list(epochs)
        key = json.dumps([data, name, options, seed, task["epochs"]], sort_keys=True)
        folder = self.home / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        if not (folder / "done.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "task.json").write_text(json.dumps(task | {"threads": self.threads}))
            _write(folder, learnt, users)
            script = Path(__file__).parent / "peers" / "sequences.py"
            started = time.monotonic()
            with (folder / "log.txt").open("w") as log:
                subprocess.run(
                    [str(self.python), str(script), str(folder)], stdout=log, stderr=log, check=True
                )
            say(f"{name} {options} {task['epochs']}: {time.monotonic() - started:.0f} s")
        return [_read(folder / f"lists-{after}.csv", len(learnt)) for after in epochs]


def _read(file: Path, rows: int) -> npt.NDArray[np.int32]:
    frame = pl.read_csv(file)
    ranked = np.full((rows, DEPTH), -1, dtype=np.int32)
    ranked[frame["user"].to_numpy(), frame["rank"].to_numpy() - 1] = frame["item"].to_numpy()
    return ranked


def _write(folder: Path, learnt: Histories, users: npt.NDArray[np.int64]) -> None:
    whose = np.repeat(np.arange(len(learnt)), learnt.lengths)
    place = np.arange(len(whose)) - np.repeat(learnt.indptr[:-1], learnt.lengths)
    pl.DataFrame({"user": whose, "item": learnt.items, "position": place}).write_csv(
        folder / "train.csv"
    )
    pl.DataFrame({"user": users}).write_csv(folder / "users.csv")
    pl.DataFrame({"item": np.unique(learnt.items)}).write_csv(folder / "items.csv")
