"""A split in time with items nobody has seen: our model beside baselines and id-based peers.

    make bench NAME=time-split ARGS='--shop amazon --interactions FILE --items FILE --peers PYTHON'
    make bench NAME=time-split ARGS='--shop online-retail FILE --peers PYTHON'

One night from the 0.9 quantile of event times on (docs/evaluation.md), a seeded tenth of the items
withheld from everything that learns; their events feed the slice `cold` alone. Every arm ranks the
whole catalogue for the same customers by the same rule on items already bought. Our arm is the
control: no synthetic sample. What is chosen (its blend, the peers' settings) is chosen on an inner
night that ends where this one starts. `PYTHON` has `rectools[torch]` and `implicit`. What a peer
has ranked is kept in `--home`, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.common import finish, say
from nightshift import stages
from nightshift.commands.benchmark import long_night
from nightshift.evaluate.arms import beta_of
from nightshift.evaluate.baselines import baselines
from nightshift.evaluate.judge import judge, user_metrics
from nightshift.evaluate.window import Window, read_window
from nightshift.intervals import Interval, paired_bootstrap
from nightshift.lake import Lake
from nightshift.night import Night, microseconds
from nightshift.nights import run_parts
from nightshift.ranking import Codes, Mask, Ranker, Scores
from nightshift.recommend.ranker import load
from nightshift.recommend.tune import inner_night
from nightshift.settings import Settings
from nightshift.snapshot import Histories, Snapshot, read_vectors

OURS = "nightshift"
WITHHELD = {"share": 0.1, "salt": 1}
DEPTH = 100
"""Items a peer lists of each customer: enough to find ten natural ones among them."""
_SASREC = {
    "n_heads": 1, "n_blocks": 1, "n_factors": 128, "dropout_rate": 0.2, "lr": 1e-3,
    "batch_size": 128, "loss": "sampled_softmax", "n_negatives": 256, "session_max_len": 50,
}  # fmt: skip
PEERS: dict[str, list[dict[str, Any]]] = {
    "als": [
        {"factors": factors, "iterations": 15, "regularization": regularization, "alpha": alpha}
        for factors in (64, 128)
        for regularization in (0.01, 1.0)
        for alpha in (1.0, 10.0)
    ],
    "sasrec": [_SASREC | {"epochs": epochs} for epochs in (5, 15)],
    "esasrec": [_SASREC | {"epochs": epochs} for epochs in (5, 15)],
}
"""Settings tried on the inner night, those of one peer in a list."""
METRICS = ("ndcg@10", "recall@10")


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists that a peer made for the users of a window; implements `nightshift.ranking.Ranker`."""

    ranked: npt.NDArray[np.int32]  # [users of the snapshot, DEPTH], -1 behind the last

    def top_k(
        self,
        histories: Histories,
        k: int,
        *,
        candidates: Mask | None,
        exclude_seen: bool,  # noqa: ARG002
    ) -> tuple[Codes, Scores]:
        """The first k candidates of each list; what was seen was left out when it was made."""
        assert histories.users is not None
        codes = np.where(
            histories.users[:, None] >= 0, self.ranked[np.maximum(histories.users, 0)], -1
        )
        keep = codes >= 0
        if candidates is not None:
            keep &= candidates[np.maximum(codes, 0)]
        order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
        first = np.take_along_axis(np.where(keep, codes, -1), order, axis=1).astype(np.int32)
        scores = np.where(first >= 0, -np.arange(first.shape[1], dtype=np.float32), -np.inf)
        return first, scores.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Split:
    """One night to judge: who knows what, and what came."""

    snapshot: Snapshot
    window: Window
    vectors: npt.NDArray[np.float32]


def read_split(settings: Settings, night: Night) -> Split:
    """The datasets of a night whose stages have run."""
    lake, of_night = Lake.of(settings), f"night={night.key}"
    snapshot = Snapshot(lake, lake.get("snapshot", of_night))
    window = read_window(
        snapshot,
        lake.scan(lake.get("morning", of_night), "events.parquet"),
        tail_events=settings.generate.tail_events,
        asked_at=microseconds(night.start),
    )
    return Split(snapshot, window, read_vectors(lake, lake.get("vectors", of_night)))


def figures(split: Split, ranker: Ranker, arm: str, seed: int | None) -> pl.DataFrame:
    """contracts.USER_METRICS of one arm."""
    return user_metrics(judge(ranker, split.window, label=arm), split.window, arm=arm, seed=seed)


def ours(settings: Settings, night: Night, split: Split) -> Iterator[pl.DataFrame]:
    """The control of every seed, with the weights that the inner night chose."""
    lake, of_night = Lake.of(settings), f"night={night.key}"
    recipe = lake.read_json(lake.get("recipe", of_night), "recipe.json")
    for seed in settings.finetune.seeds:
        model = lake.get("arm", f"{of_night}/arm=control/seed={seed}")
        ranker = load(
            lake,
            model,
            item_ids=split.snapshot.items["item_id"].to_list(),
            vectors=split.vectors,
            beta=beta_of(recipe, "control"),
            gamma=float(recipe["gamma"]),
            lean=float(recipe["lean"]),
            events=split.snapshot.item_events,
            user_keys=split.snapshot.users["user_key"].to_list(),
        )
        yield figures(split, ranker, OURS, seed)


def peer(
    asked: argparse.Namespace, split: Split, name: str, options: dict[str, Any], seed: int
) -> Lists:
    """What a peer ranks after it has learnt the split's histories."""
    key = json.dumps([split.snapshot.manifest.digest, name, options, seed], sort_keys=True)
    folder = asked.home / "peers" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not (folder / "done.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_task(asked, split, name, options, seed, folder)
        script = Path(__file__).parent / "peers" / "sequences.py"
        started = time.monotonic()
        with (folder / "log.txt").open("w") as log:
            subprocess.run(
                [str(asked.peers), str(script), str(folder)], stdout=log, stderr=log, check=True
            )
        say(f"{name} {options}: {time.monotonic() - started:.0f} s")
    frame = pl.read_csv(folder / "lists.csv")
    ranked = np.full((split.snapshot.users.height, DEPTH), -1, dtype=np.int32)
    ranked[frame["user"].to_numpy(), frame["rank"].to_numpy() - 1] = frame["item"].to_numpy()
    return Lists(ranked)


def _write_task(
    asked: argparse.Namespace,
    split: Split,
    name: str,
    options: dict[str, Any],
    seed: int,
    folder: Path,
) -> None:
    window, histories = split.window, split.snapshot.histories
    task = {"peer": name, "options": options, "seed": seed, "threads": asked.threads, "k": DEPTH}
    (folder / "task.json").write_text(json.dumps(task | {"seen": not window.repeats}))
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    place = np.arange(len(users)) - np.repeat(histories.indptr[:-1], histories.lengths)
    pl.DataFrame({"user": users, "item": histories.items, "position": place}).write_csv(
        folder / "train.csv"
    )
    known = window.histories.users
    assert known is not None
    some = known[(known >= 0) & (window.histories.lengths > 0)]
    pl.DataFrame({"user": some}).write_csv(folder / "users.csv")
    pl.DataFrame({"item": np.unique(histories.items)}).write_csv(folder / "items.csv")


def best_options(asked: argparse.Namespace, inner: Split, name: str) -> dict[str, Any]:
    """The settings with the best overall NDCG@10 on the inner night."""
    found = []
    for options in PEERS[name]:
        frame = figures(inner, peer(asked, inner, name, options, 0), name, 0)
        value = _mean(frame, "overall", "ndcg@10")
        say(f"{name} on the inner night: {value:.4f} with {options}")
        found.append((value, options))
    return max(found, key=lambda pair: pair[0])[1]


def _mean(frame: pl.DataFrame, slice_: str, metric: str) -> float:
    part = frame.filter((pl.col("slice") == slice_) & (pl.col("metric") == metric))
    return float(part["value"].mean() or 0.0)  # type: ignore[arg-type]


def rows_of(frame: pl.DataFrame, data: str) -> list[dict[str, Any]]:
    """Means of every arm, and what ours has over each other, paired by user."""
    averaged = frame.group_by("arm", "user_key", "slice", "metric").agg(pl.col("value").mean())
    rows: list[dict[str, Any]] = []
    for (slice_, metric), part in sorted(averaged.group_by("slice", "metric")):
        if metric not in METRICS:
            continue
        wide = part.pivot(on="arm", index="user_key", values="value").sort("user_key")
        for arm in [c for c in wide.columns if c != "user_key"]:
            base = {"data": data, "slice": slice_, "metric": metric, "n": wide.height}
            mean = float(wide[arm].mean())  # type: ignore[arg-type]
            rows.append(base | {"arm": arm, "value": round(mean, 5)})
            if arm == OURS:
                continue
            theirs, mine = wide[arm].to_numpy(), wide[OURS].to_numpy()
            found = paired_bootstrap(mine - theirs, theirs, seed=0)
            rows.append(
                base
                | {
                    "arm": OURS,
                    "against": arm,
                    "value": round(found.value, 5),
                    "value_ci95": [round(found.value_low, 5), round(found.value_high, 5)],
                    "relative": found.relative and round(found.relative, 4),
                    "ci95": None
                    if found.low is None
                    else [round(found.low, 4), round(found.high or 0, 4)],
                }
            )
    return rows


def _compared(found: Interval) -> dict[str, Any]:
    def rounded(*values: float | None) -> list[float] | None:
        return None if None in values else [round(float(v or 0), 5) for v in values]

    return {
        "value": round(found.value, 5),
        "value_ci95": rounded(found.value_low, found.value_high),
        "relative": found.relative,
        "ci95": rounded(found.low, found.high),
    }


def run(asked: argparse.Namespace, settings: Settings) -> list[dict[str, Any]]:
    """Every stage that the control needs, then everybody's figures."""
    from nightshift.store import embedded, loaders

    options: dict[str, Any] = {"path": asked.path}
    if asked.shop == "amazon":
        options = {"interactions": asked.interactions, "items": asked.items}
    try:
        embedded.ensure_running(settings)
        if not (asked.home / "loaded").exists():
            loaders.load(asked.shop, settings, **options)
            (asked.home / "loaded").touch()
        night = long_night(settings, 0.9)
        settings = settings.with_({"night": {"first": night.start.isoformat()}})
        lake = Lake.of(settings)
        names = ("collect", "embed", "plan", "generate", "gather", "inspect", "tune", "blend")
        for name in (*names, "finetune", "morning"):
            for parts in stages.parts_of(name, lake, night, settings):
                if parts.get("arm", "control") == "control":
                    for ran in run_parts(name, [parts], night, settings):
                        say(f"{ran.stage:9} {ran.seconds:7.1f} s  {ran.manifest.partition}")
    finally:
        embedded.stop(settings)
    split = read_split(settings, night)
    frames = list(ours(settings, night, split))
    for name, ranker in baselines(split.snapshot, split.vectors):
        frames.append(figures(split, ranker, name, None))
    if asked.peers is not None:
        inner, its = inner_night(split.snapshot, night, settings)
        before = read_split(its, inner)
        for name in asked.arms:
            chosen = best_options(asked, before, name)
            say(f"{name}: {chosen}")
            for seed in (0,) if name == "als" else settings.finetune.seeds:
                lists = peer(asked, split, name, chosen, seed)
                frames.append(figures(split, lists, name, seed))
    frame = pl.concat(frames)
    for slice_ in ("overall", "warm", "tail", "cold"):
        for arm in frame["arm"].unique(maintain_order=True):
            mine = frame.filter(pl.col("arm") == arm)
            shown = "  ".join(f"{m} {_mean(mine, slice_, m):.4f}" for m in METRICS)
            say(f"{slice_:8} {arm:18} {shown}")
    return rows_of(frame, asked.shop)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=time-split",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, help="the file of online-retail")
    parser.add_argument("--shop", choices=("amazon", "online-retail"), required=True)
    parser.add_argument("--interactions", type=Path, help="of amazon")
    parser.add_argument("--items", type=Path, help="of amazon")
    parser.add_argument("--peers", type=Path, help="an interpreter with rectools[torch], implicit")
    parser.add_argument("--arms", nargs="+", default=list(PEERS), choices=PEERS, help="which peers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", type=Path, help="folder to use and keep (default: temporary)")
    asked = parser.parse_args(argv)
    asked.home = asked.home or Path(tempfile.mkdtemp(prefix="ns-bench-", dir="/tmp"))
    asked.home.mkdir(parents=True, exist_ok=True)
    settings = Settings.shipped(
        {
            "home": str(asked.home),
            "store": {"url": None, "pseudonym_key": f"benchmark {asked.shop}"},
            "lake": {"root": None},
            "collect": {"withhold": [WITHHELD]},
            "generate": {"strategies": []},
            "blend": {"placebos": []},
            "finetune": {"seeds": list(range(asked.seeds))},
            "compute": {"threads": asked.threads},
        }
    )
    finish(f"time-split-{asked.shop}", asked.shop, run(asked, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
