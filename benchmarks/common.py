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


def finish(name: str, data: str, rows: list[dict[str, Any]]) -> None:
    """Write `results/NAME.json`, and print the same JSON as the last line."""
    commit = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    whole = {"bench": name, "commit": commit or None, "data": data, "results": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(whole))
