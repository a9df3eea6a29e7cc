"""What every benchmark shares: the shape of its result, and where it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"


def say(text: str) -> None:
    """Progress, on stderr: stdout has the result alone."""
    print(text, file=sys.stderr, flush=True)


def commit() -> str | None:
    """What was measured, with `-dirty` behind it when it was changed since; None outside git."""
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def finish(name: str, data: str, rows: list[dict[str, Any]]) -> None:
    """Write `results/NAME.json`, and print the same JSON as the last line."""
    whole = {"bench": name, "commit": commit(), "data": data, "results": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(whole))
