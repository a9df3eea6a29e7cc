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
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.common import finish, say
from benchmarks.peer_lists import EPOCHS, Peers, changed
from benchmarks.time_split_measures import METRICS, mean, rows_of
from nightshift import stages
from nightshift.commands.benchmark import long_night
from nightshift.evaluate.baselines import baselines
from nightshift.evaluate.judge import judge, user_metrics
from nightshift.evaluate.window import Window, read_window
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.night import Night, microseconds
from nightshift.nights import run_parts
from nightshift.ranking import Codes, Mask, Ranker, Scores
from nightshift.recommend.loading import as_served
from nightshift.recommend.ranking.newcomers import Newcomers
from nightshift.recommend.tune import inner_night
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors

OURS, KEPT = "nightshift", "nightshift, one place in ten for new items"
KEPT_EVERY = 10
WITHHELD = {"share": 0.1, "salt": 1}
PEERS: dict[str, list[dict[str, Any]]] = {
    "als": [
        {"factors": factors, "iterations": 15, "regularization": regularization, "alpha": alpha}
        for factors in (64, 128)
        for regularization in (0.01, 1.0)
        for alpha in (1.0, 10.0)
    ],
    "sasrec": [],
    "esasrec": [],
}
"""Settings tried on the inner night; RecTools' models have `SASREC`'s, and try `--peer-epochs`."""


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
    """The control of every seed, with the weights that the inner night chose.

    Each is judged once more with places kept for new items: a shop's choice, not a tuned one.
    """
    lake, of_night = Lake.of(settings), f"night={night.key}"
    recipe = lake.read_json(lake.get("recipe", of_night), "recipe.json")
    for seed in settings.finetune.seeds:
        model = lake.get("arm", f"{of_night}/arm=control/seed={seed}")
        users = split.snapshot.users["user_key"].to_list()
        ranker = as_served(
            lake, model, split.snapshot, split.vectors, recipe, "control", user_keys=users
        )
        yield figures(split, ranker, OURS, seed)
        ranker.newcomers = Newcomers.of(split.snapshot.item_events > 0, KEPT_EVERY)
        yield figures(split, ranker, KEPT, seed)


def peer(
    asked: argparse.Namespace,
    split: Split,
    name: str,
    options: dict[str, Any],
    seed: int,
    epochs: Sequence[int],
) -> list[Lists]:
    """What a peer ranks after it has learnt the split's histories for so many epochs."""
    known = split.window.histories.users
    assert known is not None
    lists = Peers(asked.peers, asked.home / "peers", asked.threads).lists(
        split.snapshot.manifest.digest,
        name,
        options,
        seed,
        learnt=split.snapshot.histories,
        users=known[(known >= 0) & (split.window.histories.lengths > 0)],
        exclude_seen=not split.window.repeats,
        epochs=epochs,
    )
    return [Lists(ranked) for ranked in lists]


def best_options(asked: argparse.Namespace, inner: Split, name: str) -> tuple[dict[str, Any], int]:
    """The settings and epochs with the best overall NDCG@10 on the inner night."""
    found = []
    tried = (0,) if name == "als" else asked.peer_epochs
    choices = PEERS[name] or [changed(asked.peer_set)]
    if len(choices) == len(tried) == 1:  # nothing to choose
        return choices[0], tried[0]
    for options in choices:
        ranked = peer(asked, inner, name, options, 0, tried)
        for epochs, lists in zip(tried, ranked, strict=True):
            value = mean(figures(inner, lists, name, 0), "overall", "ndcg@10")
            say(f"{name} on the inner night: {value:.4f} with {options}, epochs {epochs}")
            found.append((value, options, epochs))
    _, options, epochs = max(found, key=lambda each: each[0])
    return options, epochs


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
            chosen, epochs = best_options(asked, before, name)
            say(f"{name}: {chosen}, epochs {epochs}")
            for seed in range(1 if name == "als" else asked.peer_seeds):
                (lists,) = peer(asked, split, name, chosen, seed, [epochs])
                frames.append(figures(split, lists, name, seed))
    frame = pl.concat(frames)
    for slice_ in ("overall", "warm", "tail", "cold"):
        for arm in frame["arm"].unique(maintain_order=True):
            mine = frame.filter(pl.col("arm") == arm)
            shown = "  ".join(f"{m} {mean(mine, slice_, m):.4f}" for m in METRICS)
            say(f"{slice_:8} {arm:18} {shown}")
    return rows_of(frame, asked.shop, (OURS, KEPT))


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
    parser.add_argument("--peer-set", nargs="*", default=[], metavar="NAME=VALUE", help="of SASRec")
    parser.add_argument("--peer-epochs", nargs="+", type=int, default=EPOCHS, help="of SASRec, too")
    parser.add_argument("--seeds", type=int, default=3, help="of ours (3)")
    parser.add_argument("--peer-seeds", type=int, default=3, help="of peers that draw (3)")
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
