"""Generating a shard in a process of its own that is killed at a named call."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import budget_strategies

from conftest import SMALL
from factories import NIGHT, make_settings
from nightshift import stages


def generate_killed(home: Path, changes: dict[str, Any], shard: str, place: str, calls: int) -> int:
    """The exit status of a process that generates `shard` and is killed.

    Args:
        changes: to the settings SMALL.
        place: `module:Class.function` or `module:function`, at whose call number `calls` it dies.
    """
    tests = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, __file__, str(home), json.dumps(changes), shard, place, str(calls)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        check=False,
        timeout=120,
    ).returncode


def _kill_at(place: str, calls: int) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    holder = importlib.import_module(module)
    for owner in owners:
        holder = getattr(holder, owner)
    original, left = getattr(holder, name), calls

    def killing(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(holder, name, killing)


if __name__ == "__main__":
    home, changes, shard, place, calls = sys.argv[1:]
    budget_strategies.install()
    _kill_at(place, int(calls))
    settings = make_settings(Path(home)).with_(SMALL).with_(json.loads(changes))
    stages.run("generate", NIGHT, settings, {"shard": shard})
