"""A line that goes on every night, against training from nothing: what it costs, what it is worth.

    make bench NAME=warm-start
    make bench NAME=warm-start ARGS='--home /var/tmp/nightshift-warm-start --nights 14'

The default shop with the settings of the checkout, no synthetic sample, through the real stages: a
first night, then `--nights` nights that each begin with the state of the night before. On each of
them `finetune` also trains from nothing on the same snapshot, another seed every night, and both
are judged on the night's own customers: as they are served, and the network alone, without the
count of what a customer bought before. After that the night's `refresh` takes its events in, and
the next one begins. On the first, the middle and the last of them a second seed from nothing says
how far two trainings are apart anyhow, and three times the steps whether the first had learnt
enough. What is done is kept in `--home`: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import PROJECT, finish, say
from benchmarks.warm_start_measures import (
    AGAIN,
    LONG,
    METRIC,
    NETWORK,
    SCRATCH,
    SERVED,
    SLICES,
    WARM,
    cost,
    costs,
    frame_of,
    mean_agreement,
    overlap,
    page,
    results,
)
from nightshift import stages
from nightshift.commands.common import settings_of
from nightshift.compute import set_up_torch
from nightshift.evaluate.judge import judge, user_metrics
from nightshift.evaluate.window import Window, read_window
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import DAY, Night, microseconds, nights_between, parse_time
from nightshift.nights import run_parts
from nightshift.recommend.loading import as_served
from nightshift.recommend.ranker import ModelRanker
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import CONTROL, state_partition

FIRST = "2017-11-20"
DATA = "The Complete Journey, with the settings of the checkout"
BEFORE = (
    *("collect", "embed", "plan", "generate", "gather", "inspect"),
    *("tune", "blend", "finetune", "morning"),
)
AFTER = ("evaluate", "promote", "refresh")
SEEDS = {SCRATCH: 100, AGAIN: 200, LONG: 300}
"""Of the first night's trainings from nothing; each further night has the next one."""
LONGER = 3


@dataclass(frozen=True, slots=True)
class Judges:
    """What the arms of one night are judged with."""

    lake: Lake
    snapshot: Snapshot
    window: Window
    vectors: np.ndarray[Any, np.dtype[np.float32]]
    recipe: dict[str, Any]

    @classmethod
    def of(cls, lake: Lake, night: Night, settings: Settings) -> Judges:
        of_night = f"night={night.key}"
        snapshot = Snapshot(lake, lake.get("snapshot", of_night))
        return cls(
            lake,
            snapshot,
            read_window(
                snapshot,
                lake.scan(lake.get("morning", of_night), "events.parquet"),
                tail_events=settings.generate.tail_events,
                asked_at=microseconds(night.start),
            ),
            read_vectors(lake, lake.get("vectors", of_night)),
            lake.read_json(lake.get("recipe", of_night), "recipe.json"),
        )

    def ranker(self, model: Manifest, ranking: str) -> ModelRanker:
        recipe = self.recipe
        if ranking == NETWORK:
            recipe = recipe | {
                "beta": dict.fromkeys(recipe["beta"], 0.0),
                "gamma": 0.0,
                "lean": 0.0,
                "follow": 0.0,
            }
        users = self.snapshot.users["user_key"].to_list()
        return as_served(
            self.lake, model, self.snapshot, self.vectors, recipe, CONTROL, user_keys=users
        )


def night_of(
    settings: Settings, night: Night, *, beside: Sequence[str], number: int
) -> dict[str, Any]:
    """Run a night, its trainings from nothing beside it, and judge them.

    Args:
        beside: the trainings from nothing that are wanted.
        number: of the night, from 1 on.
    """
    lake = Lake.of(settings)
    run_stages(BEFORE, lake, night, settings)
    models = {WARM: lake.get("arm", f"night={night.key}/arm={CONTROL}/seed=0")}
    nothing = settings.with_({"night": {"first": night.start.isoformat()}})
    for name in beside:
        steps = settings.finetune.first_steps * (LONGER if name == LONG else 1)
        parts = {"arm": CONTROL, "seed": str(SEEDS[name] + number)}
        ran = stages.run(
            "finetune", night, nothing.with_({"finetune": {"first_steps": steps}}), parts
        )
        tell(ran)
        models[name] = ran.manifest
    run_stages(AFTER, lake, night, settings)
    state = lake.get("state", state_partition(night.end))
    return {
        "night": night.key,
        "number": number,
        **cost(lake, models, state),
        **kept(settings, night, models, lambda: judged(lake, night, settings, models)),
    }


def run_stages(names: Sequence[str], lake: Lake, night: Night, settings: Settings) -> None:
    for name in names:
        for ran in run_parts(name, stages.parts_of(name, lake, night, settings), night, settings):
            tell(ran)


def tell(ran: stages.Ran) -> None:
    if ran.worked:
        say(f"  {ran.stage:9} {ran.seconds:6.1f} s  {ran.manifest.partition}")


def kept(
    settings: Settings,
    night: Night,
    models: dict[str, Manifest],
    make: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """What was judged of these very models before, or what `make` judges now."""
    path = settings.home_path / "judged" / f"{night.key}.json"
    made_from = {name: model.digest for name, model in models.items()}
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["models"] == made_from:
            return found
    found = {"models": made_from, **make()}
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.replace(path)
    return found


def judged(
    lake: Lake, night: Night, settings: Settings, models: dict[str, Manifest]
) -> dict[str, Any]:
    """`figures`: rows of (ranking, arm, slice, user_key, value); `alike`: beside the training from
    nothing, of the other models."""
    set_up_torch(settings)
    judges = Judges.of(lake, night, settings)
    frames, alike = [], []
    for ranking in (SERVED, NETWORK):
        rankers = {name: judges.ranker(model, ranking) for name, model in models.items()}
        lists = {}
        for name, ranker in rankers.items():
            found = judge(ranker, judges.window, label=name)
            lists[name] = found.lists
            frame = user_metrics(found, judges.window, arm=name, seed=None)
            frames.append(
                frame.filter((pl.col("metric") == METRIC) & pl.col("slice").is_in(SLICES))
                .select("arm", "slice", "user_key", "value")
                .with_columns(ranking=pl.lit(ranking))
            )
        for name in [name for name in models if name != SCRATCH]:
            row = {"ranking": ranking, "arm": name, "against": SCRATCH}
            alike.append(
                row | {"metric": "overlap@10", "value": overlap(lists[name], lists[SCRATCH])}
            )
            if ranking == NETWORK:
                cosine = mean_agreement(rankers[name], rankers[SCRATCH], judges.window)
                alike.append(row | {"metric": "score_cosine", "value": cosine})
    return {
        "customers": len(judges.window),
        "figures": pl.concat(frames).to_dict(as_series=False),
        "alike": alike,
    }


def run(asked: argparse.Namespace, settings: Settings) -> list[dict[str, Any]]:
    from nightshift.store import embedded, loaders

    start = parse_time(asked.first)
    first = Night(start, start + DAY)
    settings = settings.with_({"night": {"first": start.isoformat()}})
    nights = nights_between(first.end, first.end + timedelta(days=asked.nights - 1))
    milestones = {1, (asked.nights + 1) // 2, asked.nights}
    done = []
    try:
        embedded.ensure_running(settings)
        loaders.load("complete-journey", settings)
        say(f"{first.key}: from nothing")
        run_stages((*BEFORE, *AFTER), Lake.of(settings), first, settings)
        for number, night in enumerate(nights[: asked.stop_after], 1):
            say(f"{night.key}: {number} of {asked.nights}")
            beside = [SCRATCH, *([AGAIN] if number in milestones else [])]
            beside += [LONG] if number == asked.nights else []
            one = night_of(settings, night, beside=beside, number=number)
            done.append(one)
            show(one)
    finally:
        embedded.stop(settings)
    return list(results(done))


def show(night: dict[str, Any]) -> None:
    frame = frame_of([night]).filter(pl.col("slice") == "overall")
    means = frame.group_by("ranking", "arm", maintain_order=True).agg(pl.col("value").mean())
    for ranking, arm, value in means.iter_rows():
        say(f"  {ranking:8} {arm:24} {METRIC} {value:.4f}")
    share = costs([night], "steps")["share"], costs([night], "train_seconds")["share"]
    say(f"  of training from nothing: {share[0]:.3f} of the steps, {share[1]:.3f} of the seconds")


def settings_for(asked: argparse.Namespace) -> Settings:
    """Those of the checkout, without samples; what the machine's variables say does not count."""
    shipped = Settings.shipped(tomllib.loads((PROJECT / "nightshift.toml").read_text()))
    changed = settings_of(argparse.Namespace(set=asked.set), base=shipped)
    return changed.with_(
        {
            "home": str(asked.home),
            "store": {"url": None, "pseudonym_key": "benchmark warm-start"},
            "lake": {"root": None},
            "compute": {"threads": asked.threads},
            "finetune": {"seeds": [0]},
            "generate": {"strategies": []},
            "blend": {"placebos": []},
        }
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=warm-start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--first", default=FIRST, help=f"the night before the first ({FIRST})")
    parser.add_argument("--nights", type=int, default=14, help="that are judged (14)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", type=Path, help="folder to use and keep (default: temporary)")
    parser.add_argument("--stop-after", type=int, help="so many of them; another run goes on")
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    parser.add_argument("--result", default="warm-start", help="name of the result file")
    parser.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="another setting"
    )
    asked = parser.parse_args(argv)
    if asked.nights < 1:
        parser.error("--nights is at least 1")
    asked.home = asked.home or Path(tempfile.mkdtemp(prefix="ns-bench-", dir="/tmp"))
    asked.home.mkdir(parents=True, exist_ok=True)
    rows = run(asked, settings_for(asked))
    if asked.markdown:
        asked.markdown.write_text(page(rows))
    finish(asked.result, DATA, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
