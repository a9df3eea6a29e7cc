"""`nightshift serve` under load: milliseconds and requests a second at 1, 8 and 32 users.

    python3 -m venv /var/tmp/loadtool && /var/tmp/loadtool/bin/pip install locust
    make bench NAME=serving ARGS='--tool-python /var/tmp/loadtool/bin/python'

The server is a process of its own, as `nightshift serve` starts it, on a lake with a scored night:
`--home` names one, without it the default shop and its first night are made. The load is locust's
(MIT), on the same machine, so the two share its cores. Users ask without a pause: /recommend by
`user_key`, for customers drawn among those who were scored, /search with searches of the shop, or
product titles where it has none. `one by one` is the same server with serve.batch=1 and no wait:
what sharing passes brings. Percentiles are locust's, over all requests after a warm-up; a request
that fails is counted, and the command fails.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT, finish, say

FIRST = "2017-11-20"
SEED = 5
ASKS = 2000
K = 10
WARM_UP_SECONDS = 10
START_SECONDS = 300.0
ARMS: dict[str, dict[str, str]] = {
    "serve": {},
    "one by one": {"NIGHTSHIFT_SERVE__BATCH": "1", "NIGHTSHIFT_SERVE__WAIT_MS": "0"},
}
ROUTES = {"recommend": "Recommend", "search": "Search"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench NAME=serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tool-python", required=True, help="an interpreter that has locust")
    parser.add_argument("--home", type=Path, help="a home with a scored night")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 8, 32], help="at a time")
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement (20)")
    asked = parser.parse_args(argv)
    home = asked.home or Path(tempfile.mkdtemp(prefix="ns-serving-", dir="/tmp"))
    os.environ["NIGHTSHIFT_HOME"] = str(home)
    if asked.home is None:
        os.environ["NIGHTSHIFT_CONFIG"] = str(PROJECT / "nightshift.toml")
        make_night()
    with tempfile.TemporaryDirectory() as folder:
        data = write_asks(Path(folder) / "asks.json")
        rows = list(measure(asked, Path(folder)))
    finish("serving", data, rows)
    failed = sum(row["value"] for row in rows if row["metric"] == "failed")
    return 1 if failed else 0


def make_night() -> None:
    """The default shop, and its first night."""
    from nightshift.settings import Settings
    from nightshift.store import embedded

    settings = Settings.load()
    embedded.start(settings)
    try:
        for command in (["load", "complete-journey"], ["night", "--start", FIRST, "--first"]):
            say(f"nightshift {' '.join(command)} …")
            subprocess.run(
                [sys.executable, "-m", "nightshift.cli", *command],
                stdout=subprocess.DEVNULL,
                check=True,
            )
    finally:
        embedded.stop(settings)


def write_asks(path: Path) -> str:
    """Bodies to send; returns what they are drawn from."""
    import numpy as np

    from nightshift.lake import Lake
    from nightshift.registry.alias import live
    from nightshift.registry.serving import recommendations_of
    from nightshift.settings import Settings
    from nightshift.snapshot import Snapshot

    lake = Lake.of(Settings.load())
    alias = live(lake)
    scored = None if alias is None else recommendations_of(lake, alias)
    if alias is None or scored is None:
        raise SystemExit(f"{lake.root} has no scored night: leave --home out, or run one")
    snapshot = Snapshot(lake, lake.get_ref(scored.inputs["snapshot"]))
    users = lake.read(scored, "recommendations.parquet")["user_key"].unique().sort()
    searches = snapshot.searches["query"]
    queries = (searches if len(searches) else snapshot.items["title"]).drop_nulls()
    rng = np.random.default_rng(SEED)
    bodies = {
        "recommend": [
            {"user_key": users[int(i)], "k": K} for i in rng.integers(len(users), size=ASKS)
        ],
        "search": [
            {"query": queries[int(i)][:100], "k": K} for i in rng.integers(len(queries), size=ASKS)
        ],
    }
    path.write_text(json.dumps(bodies))
    of = "searches" if len(searches) else "product titles"
    shop = snapshot.shop.name
    return f"{shop}: {snapshot.items.height} items, {len(users)} customers, {of}; k {K}"


def measure(asked: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Every arm, route and number of users, one after the other."""
    for arm, environ in ARMS.items():
        with server(environ, folder) as address:
            for route, load in ROUTES.items():
                name = route if arm == "serve" else f"{route}, {arm}"
                locust(asked, folder, address, load, max(asked.users), WARM_UP_SECONDS)
                for users in asked.users:
                    told = locust(asked, folder, address, load, users, asked.seconds)
                    found = figures(told)
                    say(
                        f"{name}, {users} users: p50 {found['p50_ms']:g} ms, p99 "
                        f"{found['p99_ms']:g} ms, {found['requests_per_second']:.0f} requests/s"
                    )
                    yield from rows_of(name, users, found, told["num_requests"], asked.seconds)


@contextmanager
def server(environ: dict[str, str], folder: Path) -> Iterator[str]:
    """`nightshift serve` on a free port; its address, once a model is loaded."""
    log = folder / "server.log"
    with log.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "nightshift.cli", "serve", "--port", "0"],
            env=os.environ | environ,
            stderr=said,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while running.poll() is None and time.monotonic() < deadline:
            found = re.search(r"listening on (http://\S+)", log.read_text())
            with suppress(OSError):
                if found and is_up(found[1]):
                    break
            time.sleep(0.2)
        else:
            raise RuntimeError(f"the server did not come up:\n{log.read_text()}")
        yield found[1]
    finally:
        running.terminate()
        running.wait()


def is_up(address: str) -> bool:
    with urllib.request.urlopen(f"{address}/health") as answer:  # noqa: S310  # loopback, by us
        return bool(answer.status == 200)


def locust(
    asked: argparse.Namespace, folder: Path, address: str, load: str, users: int, seconds: int
) -> dict[str, Any]:
    """One run; what locust says of the only route that was asked."""
    command = [asked.tool_python, "-m", "locust", "--headless", "--json"]
    command += ["-f", str(PROJECT / "benchmarks" / "serving_measures.py"), load]
    command += ["--host", address, "--asks", str(folder / "asks.json")]
    command += [
        "-u",
        str(users),
        "-r",
        str(users),
        "-t",
        f"{seconds}s",
        "--exit-code-on-error",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"locust failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    if not found:
        raise RuntimeError(f"nothing was answered within {seconds} seconds:\n{done.stderr}")
    return dict(found[0])


def figures(found: dict[str, Any]) -> dict[str, float]:
    """Percentiles by nearest rank over all requests, in milliseconds, and the rate."""
    counted = sorted((float(ms), n) for ms, n in found["response_times"].items())
    ranks = list(itertools.accumulate(n for _, n in counted))
    total = found["num_requests"]

    def percentile(share: float) -> float:
        return counted[bisect.bisect_left(ranks, share * ranks[-1])][0]

    took = found["last_request_timestamp"] - found["start_time"]
    return {
        "p50_ms": percentile(0.5),
        "p99_ms": percentile(0.99),
        "requests_per_second": round(total / took, 2),
        "failed": found["num_failures"],
    }


def rows_of(
    arm: str, users: int, found: dict[str, float], n: int, seconds: int
) -> Iterator[dict[str, Any]]:
    for metric, value in found.items():
        yield {
            "arm": arm,
            "slice": f"{users} users",
            "metric": metric,
            "value": value,
            "n": n,
            "seconds": seconds,
        }


if __name__ == "__main__":
    sys.exit(main())
