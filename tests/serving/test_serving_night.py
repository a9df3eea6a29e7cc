"""A real small night, scored, and the server as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from served_nights import until

from factories import commit, write_snapshot, write_vectors
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.recommend.finetune import run as finetune
from nightshift.recommend.refresh import run as refresh
from nightshift.recommend.score import run as score
from nightshift.registry.alias import live, move_alias, rollback
from nightshift.settings import Settings
from nightshift.stages import STAGES, StageContext, arm_input
from nightshift.store.schema import migrate
from shop_by_hand import samples, write_blend, write_recipe

FIRST, SECOND = Night.parse("2017-05-20"), Night.parse("2017-05-21")
RECIPE = {
    "beta": {"control": 5.0, "challenger": 5.0},
    "gamma": 4.0,
    "follow": 3.0,
    "lean": 1.0,
    "strategies": {},
}
TINY = {
    "first_steps": 15,
    "refresh_passes": 1,
    "batch": 16,
    "negatives": 64,
    "query_steps": 0,
    "model": {"dim": 16, "layers": 1, "heads": 2, "max_length": 20, "features": 32},
}
TOKEN = "a-token-of-16-characters"
TOP_N = 12


@dataclass
class RealNights:
    """Two nights of the default shop: the first one is scored, and live."""

    settings: Settings
    states: list[Manifest]
    recommended: pl.DataFrame

    @property
    def lake(self) -> Lake:
        return Lake.of(self.settings)


def judged(
    lake: Lake, settings: Settings, night: Night, stage: str, name: str, body: Any
) -> Manifest:
    """What a stage that judges leaves, without its judging."""

    def run(ctx: StageContext) -> dict[str, Any]:
        ctx.writer.write_json(name, body)
        return dict(body) if isinstance(body, dict) else {}

    return commit(lake, settings, night, STAGES[stage], run)


def night_of(lake: Lake, settings: Settings, night: Night, line: str) -> dict[str, Manifest]:
    """What `score` reads: every dataset as its stage writes it, but for samples and verdict."""
    shop = {"households": 40, "n_items": 150, "cold_every": 25}
    snapshot = write_snapshot(lake, settings, night, **shop)
    inputs = {
        "snapshot": snapshot,
        "vectors": write_vectors(lake, settings, snapshot, night),
        "recipe": write_recipe(lake, settings, RECIPE, night=night),
        "blend": write_blend(
            lake, settings, {"control": samples(), "challenger": samples()}, night=night
        ),
    }
    models = {
        arm_input(arm, 0): commit(
            lake,
            settings,
            night,
            STAGES["finetune"],
            finetune,
            inputs,
            {"arm": arm, "seed": "0"},
        )
        for arm in ("control", "challenger")
    }
    morning = write_snapshot(lake, settings, night, **shop, part="morning")
    body = {"decision": "promoted", "reasons": ["It is better."], "pooled_nights": 1}
    verdict = judged(lake, settings, night, "promote", "verdict.json", body | {"live_line": line})
    evaluation = judged(lake, settings, night, "evaluate", "pooled.json", [])
    whole = inputs | models | {"morning": morning, "verdict": verdict, "evaluation": evaluation}
    state = commit(lake, settings, night, STAGES["refresh"], refresh, whole)
    return whole | {"state": state}


@pytest.fixture(scope="module")
def nights(server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNights]:
    name = server.fresh()
    settings = Settings.load(
        {
            "home": str(tmp_path_factory.mktemp("served") / "home"),
            "store": {"url": server.url(name), "pseudonym_key": "a key for tests"},
            "compute": {"threads": 1, "device": "cpu"},
            "night": {"first": FIRST.start.isoformat()},
            "finetune": TINY,
            "score": {"top_n": TOP_N, "active_days": 60},
            "text": {"max_tokens": 16},
        }
    )
    migrate(settings)
    lake = Lake.of(settings)
    first = night_of(lake, settings, FIRST, "blend")
    manifest = commit(lake, settings, FIRST, STAGES["score"], score, first)
    second = night_of(lake, settings, SECOND, "real")
    recommended = lake.read(manifest, "recommendations.parquet")
    yield RealNights(settings, [first["state"], second["state"]], recommended)
    server.run(f"drop database {name} with (force)")


class Process:
    """`nightshift serve`, asked over its socket."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, route: str, body: object = None, token: str | None = TOKEN):
        """Status and JSON of one request."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + route, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@contextmanager
def serving(settings: Settings, folder: Path) -> Iterator[tuple[Process, subprocess.Popen[str]]]:
    """On a free port, with a token, waiting until the champion is loaded."""
    environ = {
        "NIGHTSHIFT_HOME": str(settings.home_path),
        "NIGHTSHIFT_SERVE__TOKEN": TOKEN,
        "NIGHTSHIFT_SERVE__POLL_SECONDS": "0.1",
        "NIGHTSHIFT_COMPUTE__THREADS": "1",
        "NIGHTSHIFT_TEXT__MAX_TOKENS": "16",
    }
    log = folder / "server.log"
    with log.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "nightshift.cli", "serve", "--port", "0"],
            env={**os.environ, **environ},
            stderr=said,
            text=True,
        )
    try:
        until(lambda: "listening on" in log.read_text() or running.poll() is not None, 120)
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text())
        assert found, log.read_text()
        process = Process(int(found[1]))
        until(lambda: _is_up(process) or running.poll() is not None, 240)
        assert running.poll() is None, log.read_text()
        yield process, running
    finally:
        running.kill()
        running.wait()


def _is_up(process: Process) -> bool:
    try:
        return process.ask("/health")[0] == 200
    except OSError:
        return False


@dataclass
class Callers:
    """Threads that ask without a pause, and what they were told."""

    process: Process
    users: list[str]
    queries: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    wrong: list[object] = field(default_factory=list)
    nights: list[list[str]] = field(default_factory=list)

    def ask(self, number: int) -> None:
        seen: list[str] = []
        self.nights.append(seen)
        turn = number
        while not self.stop.is_set():
            turn += 1
            route, body = (
                ("/recommend", {"user_key": self.users[turn % len(self.users)], "k": 5}),
                ("/recommend", {"history": [], "k": 5}),
                ("/search", {"query": self.queries[turn % len(self.queries)], "k": 5}),
                ("/health", None),
            )[turn % 4]
            try:
                status, told = self.process.ask(route, body)
            except OSError as error:
                self.wrong.append(error)
                continue
            if status != 200:
                self.wrong.append((status, told))
            else:
                seen.append(told["model"]["night"])

    @contextmanager
    def asking(self, count: int) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()


def test_what_is_served_is_what_was_scored_and_no_move_drops_a_request(nights, tmp_path):
    lake, scored = nights.lake, nights.recommended
    assert scored["user_key"].n_unique() > 30
    first = live(lake)
    assert first.line == "blend"
    titles = lake.read(lake.get("snapshot", f"night={FIRST.key}"), "items.parquet")["title"]

    with serving(nights.settings, tmp_path) as (process, running):
        # Every user's items, in order, and their scores.
        for (user,), rows in scored.group_by("user_key", maintain_order=True):
            status, told = process.ask("/recommend", {"user_key": user, "k": TOP_N})
            assert status == 200
            assert told["model"]["night"] == FIRST.key
            assert [one["item_id"] for one in told["items"]] == rows["item_id"].to_list()
            scores = [one["score"] for one in told["items"]]
            assert scores == pytest.approx(rows["score"].to_list(), abs=1e-3)

        # A search is read by the nights' own encoder: a title finds something in any case.
        status, told = process.ask("/search", {"query": titles[3], "k": 5})
        assert status == 200
        assert len(told["items"]) == 5

        # Two moves under load: forward, and back again.
        callers = Callers(process, scored["user_key"].unique().to_list(), titles.to_list())
        with callers.asking(6):
            time.sleep(1)
            assert move_alias(lake, nights.states[1], "real", SECOND).moved
            until(lambda: process.ask("/health")[1]["model"]["night"] == SECOND.key)
            time.sleep(1)
            rollback(lake, reason="to move once more under load")
            until(lambda: process.ask("/health")[1]["model"]["night"] == FIRST.key)
            time.sleep(1)
        assert callers.wrong == []
        assert sum(map(len, callers.nights)) > 50
        for seen in callers.nights:  # each sees the three in order, and ends with the last
            assert re.fullmatch("a*b*a+", "".join("b" if n == SECOND.key else "a" for n in seen))
        assert any(SECOND.key in seen for seen in callers.nights)
        assert all(seen[-1] == FIRST.key for seen in callers.nights)

        assert process.ask("/recommend", {}, token=None)[0] == 401
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    log = (tmp_path / "server.log").read_text()
    assert TOKEN not in log
    assert "Traceback" not in log
    assert log.count("live: line") == 3
