"""A backfill under Airflow, its scheduler killed in the middle, against the same nights in a row.

    make bench NAME=backfill ARGS='--nights 14 --at-once 4 --home /var/tmp/nightshift-backfill'

From nothing: `make up`, the default shop, a first night as the form triggers it, then a backfill of
the nights after it. Half way the scheduler gets SIGKILL and is started again. While it runs, the
GPU pool and the live alias are looked at every second. Then every night runs once more without
Airflow, one after the other, into a second lake, and all datasets of both lakes are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT, finish, say

sys.path.append(str(PROJECT / "tests" / "dags"))

FIRST = "2017-11-20"
DATA = "The Complete Journey, with the settings of the checkout"
LIMIT_SECONDS = 4 * 3600.0


@dataclass
class Watched:
    """What was seen while the backfill ran."""

    slots: int = 0
    most_in_pool: int = 0
    most_nights: int = 0
    alias_nights: list[str] = field(default_factory=list)
    killed_after: int | None = None
    scheduler_down_seconds: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench NAME=backfill", description=__doc__)
    parser.add_argument("--nights", type=int, default=14, help="of the backfill (14)")
    parser.add_argument("--at-once", type=int, default=4, help="nights at the same time (4)")
    parser.add_argument("--home", type=Path, help="an empty folder to use and keep")
    parser.add_argument("--no-kill", action="store_true", help="leave the scheduler alone")
    asked = parser.parse_args(argv)
    if asked.nights < 1 or asked.at_once < 1:
        parser.error("--nights and --at-once are at least 1")
    home = asked.home or Path(tempfile.mkdtemp(prefix="ns-backfill-", dir="/tmp"))
    os.environ |= {
        "NIGHTSHIFT_HOME": str(home),
        "NIGHTSHIFT_CONFIG": str(PROJECT / "nightshift.toml"),
    }
    finish("backfill", DATA, list(run(home, asked)))
    return 0


def run(home: Path, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from running_airflow import Api, command

    from nightshift.lake import Lake
    from nightshift.night import nights_between, parse_time
    from nightshift.settings import Settings
    from nightshift.store import embedded
    from nightshift_airflow.local.place import Place

    settings = Settings.load()
    start = parse_time(FIRST)
    nights = nights_between(start, start + timedelta(days=asked.nights))
    keys = [night.key for night in nights]
    embedded.start(settings)
    try:
        with measured("load") as loading:
            _nightshift("load", "complete-journey")
        yield _row("load", "seconds", loading.seconds)
        with measured("make up") as starting:
            command("up")
        yield _row("make up", "seconds", starting.seconds)
        api = Api(Place.of(settings))
        with measured(f"the first night, {keys[0]}, as the form triggers it") as first:
            triggered = api.trigger("nightly", {"night": keys[0], "first_night": True})
            if api.wait(triggered) != "success":
                raise RuntimeError(api.why(triggered))
        yield _row("form", "night_seconds", first.seconds)

        dates = ["--from-date", keys[1], "--to-date", keys[-1]]
        at_once = ["--max-active-runs", str(asked.at_once)]
        with measured(f"a backfill of {asked.nights} nights, {asked.at_once} at once") as filling:
            command("airflow", "backfill", "create", "--dag-id", "nightly", *dates, *at_once)
            seen = watch(api, settings, asked)
        yield _row("backfill", "seconds", filling.seconds, n=asked.nights)
        yield _row("backfill", "pool_slots", seen.slots)
        yield _row("backfill", "most_in_pool", seen.most_in_pool)
        yield _row("backfill", "most_nights_at_once", seen.most_nights)
        yield _row("backfill", "alias_moves_back", backwards(seen.alias_nights))
        yield _row("backfill", "alias_moves_seen", len(seen.alias_nights))
        if seen.killed_after is not None:
            yield _row("backfill", "nights_done_at_the_kill", seen.killed_after)
            yield _row("backfill", "scheduler_down_seconds", seen.scheduler_down_seconds)

        row_root = (home / "in-a-row").as_uri()
        with measured("the same nights in a row, without Airflow") as in_a_row:
            for number, key in enumerate(keys):
                first_flag = ["--first"] if number == 0 else []
                say(f"  {key}")
                _nightshift("night", "--start", key, *first_flag, lake=row_root)
        yield _row("in a row", "seconds", in_a_row.seconds, n=len(keys))
        yield from compared(
            Lake.of(settings), Lake.of(settings.with_({"lake": {"root": row_root}}))
        )
    finally:
        command("down")
        embedded.stop(settings)


def watch(api: Any, settings: Any, asked: argparse.Namespace) -> Watched:
    """Look once a second until every run of the backfill has ended; kill the scheduler half way."""
    from running_airflow import command

    from nightshift.lake import Lake
    from nightshift.registry.alias import live
    from nightshift_airflow.local.place import Place
    from nightshift_airflow.local.stack import running

    lake, place = Lake.of(settings), Place.of(settings)
    seen = Watched()
    deadline = time.monotonic() + LIMIT_SECONDS
    told = -1
    while time.monotonic() < deadline:
        pool = api.call("GET", "/api/v2/pools/gpu")
        seen.slots = pool["slots"]
        seen.most_in_pool = max(seen.most_in_pool, pool["occupied_slots"])
        runs = api.call("GET", "/api/v2/dags/nightly/dagRuns?run_type=backfill&limit=100")
        states = [one["state"] for one in runs["dag_runs"]]
        seen.most_nights = max(seen.most_nights, states.count("running"))
        alias = live(lake)
        if alias is not None and seen.alias_nights[-1:] != [alias.night]:
            seen.alias_nights.append(alias.night)
        done = states.count("success")
        if done != told:
            say(f"  {done} of {asked.nights} nights done")
            told = done
        if "failed" in states:
            raise RuntimeError(f"a night failed: {states}")
        if done == asked.nights:
            return seen
        if done >= asked.nights // 2 and seen.killed_after is None and not asked.no_kill:
            seen.killed_after = done
            say("  SIGKILL to the scheduler")
            running(place)["scheduler"].kill()
            started = time.monotonic()
            time.sleep(5)
            say("  " + command("up").splitlines()[0])
            seen.scheduler_down_seconds = time.monotonic() - started
        time.sleep(1)
    raise RuntimeError("the backfill did not end")


def backwards(nights: Sequence[str]) -> int:
    """How often the next night that was live is earlier than the one before."""
    return sum(later < earlier for earlier, later in itertools.pairwise(nights))


def compared(backfilled: Any, in_a_row: Any) -> Iterator[dict[str, Any]]:
    """Every dataset of both lakes, by what its partition stands for."""
    from nightshift.stages import STAGES

    ours, theirs = datasets(backfilled), datasets(in_a_row)
    names = {stage.dataset for stage in STAGES.values()}
    for name in sorted(names):
        mine = {k: v for k, v in ours.items() if k[0] == name}
        other = {k: v for k, v in theirs.items() if k[0] == name}
        same = sum(mine[key][0] == other[key][0] for key in mine.keys() & other.keys())
        yield _row(name, "same_digest", same, n=len(mine.keys() | other.keys()))
    yield _row("backfill", "datasets", len(ours), n=len(theirs))
    yield _row("backfill", "partitions_with_two_keys", sum(keys != 1 for _, keys in ours.values()))


def datasets(lake: Any) -> dict[tuple[str, str], tuple[str, int]]:
    """(dataset, partition) to the digest it stands for and the number of its keys."""
    root = Path(lake.root.removeprefix("file://"))
    found = {}
    for pointer in root.glob("*/**/_current.json"):
        partition = str(pointer.parent.relative_to(root))
        name, _, partition = partition.partition("/")
        keys = [one for one in pointer.parent.iterdir() if (one / "_manifest.json").is_file()]
        found[name, partition] = (json.loads(pointer.read_text())["digest"], len(keys))
    return found


@dataclass
class measured:  # noqa: N801  (read as a word of the `with` statement)
    """Says what begins, and how long it took."""

    what: str
    seconds: float = 0.0

    def __enter__(self) -> measured:
        say(f"{datetime.now():%H:%M:%S} {self.what} …")
        self._started = time.monotonic()
        return self

    def __exit__(self, *raised: object) -> None:
        self.seconds = time.monotonic() - self._started
        say(f"{datetime.now():%H:%M:%S} {self.what}: {self.seconds:.0f} s")


def _nightshift(*arguments: str, lake: str | None = None) -> None:
    environ = os.environ | ({"NIGHTSHIFT_LAKE__ROOT": lake} if lake else {})
    subprocess.run(
        [sys.executable, "-m", "nightshift.cli", *arguments],
        env=environ,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _row(arm: str, metric: str, value: float, *, n: int = 1) -> dict[str, Any]:
    return {"arm": arm, "slice": "overall", "metric": metric, "value": round(value, 3), "n": n}


if __name__ == "__main__":
    sys.exit(main())
