"""What Airflow costs: the parse time of each DAG file, and its own seconds per night.

    make bench NAME=airflow

The same small night twice on this machine: stage after stage in one process, and as a run of the
DAG `nightly` on a running Airflow (into a lake of its own). The difference is what Airflow, the
tasks and a process per stage cost. A third run, in Airflow again with every dataset there, is that
cost alone. Parse times are the best of several fresh processes, beside a file with an empty DAG.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT, finish, say

sys.path.append(str(PROJECT / "tests" / "dags"))

PARSES = 5
NIGHT = "2017-11-20"
DATA = "The Complete Journey, its 150 busiest households, October and November 2017"
EMPTY = "from airflow.sdk import DAG\nwith DAG(dag_id='empty', schedule=None):\n    pass\n"
_PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
print(json.dumps([stat.duration.total_seconds() for stat in bag.dagbag_stats][0]))
"""


def main() -> int:
    with home() as folder:
        rows = [*parsing(folder), *nights(folder)]
    finish("airflow", DATA, rows)
    return 0


@contextmanager
def home() -> Iterator[Path]:
    """An empty home for Airflow, the store and the lake, and the environment that names it."""
    from small_night import SMALL

    folder = Path(tempfile.mkdtemp(prefix="ns-bench-", dir="/tmp"))
    (folder / "nightshift.toml").write_text(SMALL)
    os.environ |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_CONFIG": str(folder / "nightshift.toml"),
        "NIGHTSHIFT_NIGHT__FIRST": NIGHT,
    }
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parsing(folder: Path) -> Iterator[dict[str, Any]]:
    """One row per DAG file, and one for an empty DAG."""
    (folder / "empty.py").write_text(EMPTY)
    for path in [folder / "empty.py", *sorted((PROJECT / "dags").glob("*.py"))]:
        seconds = min(_parse(path) for _ in range(PARSES))
        say(f"parse {path.stem}: {1000 * seconds:.0f} ms")
        yield _row(path.stem, "parse_seconds", seconds, n=PARSES)


def _parse(path: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, str(path)], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def nights(folder: Path) -> Iterator[dict[str, Any]]:
    """The night without Airflow, with it, and with it once more."""
    from running_airflow import Api, command

    from nightshift.night import Night
    from nightshift.nights import run_night
    from nightshift.settings import Settings
    from nightshift.store import embedded
    from nightshift.store.loaders import load
    from nightshift_airflow.local.place import Place

    settings = Settings.load()
    embedded.start(settings)
    try:
        load(
            "complete-journey",
            settings,
            households=150,
            since=date(2017, 10, 1),
            until=date(2017, 11, 30),
            sold_only=True,
        )
        say("a night in one process …")
        alone = settings.with_({"lake": {"root": (folder / "alone").as_uri()}})
        started = time.monotonic()
        run_night(Night.parse(NIGHT), alone, told=lambda _: None)
        bare = time.monotonic() - started
        yield _row("one process", "night_seconds", bare)

        started = time.monotonic()
        command("up")
        yield _row("make up", "start_seconds", time.monotonic() - started)
        api = Api(Place.of(settings))
        for arm in ("airflow", "airflow, all done"):
            say(f"a night: {arm} …")
            started = time.monotonic()
            run = api.trigger("nightly", {"night": NIGHT})
            if api.wait(run) != "success":
                raise RuntimeError(api.why(run))
            seconds = time.monotonic() - started
            tasks = api.tasks(run)
            yield _row(arm, "night_seconds", seconds, n=len(tasks))
            yield _row(arm, "task_seconds_mean", sum(t["duration"] for t in tasks) / len(tasks))
            if arm == "airflow":
                yield _row(arm, "own_seconds", seconds - bare, n=len(tasks))
    finally:
        command("down")
        embedded.stop(settings)


def _row(arm: str, metric: str, value: float, *, n: int = 1) -> dict[str, Any]:
    return {"arm": arm, "slice": "overall", "metric": metric, "value": round(value, 4), "n": n}


if __name__ == "__main__":
    sys.exit(main())
