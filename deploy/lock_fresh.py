"""Resolve every extra afresh, as if there were no lock, and say what has moved since.

    python deploy/lock_fresh.py [--timeout SECONDS]

Nothing is installed and the lock is not changed. The exit status is for a scheduled job:
0 the newest versions are the locked ones, 10 something moved, 1 the extras do not resolve any more.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lock_for import LOCK, canonical, data_wheels, pins, project, wanted

MOVED, BROKEN = 10, 1
PINNED = ("torch",)
"""Stays as locked: a looser one takes the newest build, and gigabytes of another CUDA."""
RESOLVE_SECONDS = 1800


def newest(
    requirements: Sequence[str], *options: str, timeout: float = RESOLVE_SECONDS
) -> dict[str, str]:
    """Canonical name -> the version that pip would install on an empty machine.

    Raises:
        RuntimeError: they do not resolve; with pip's own last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--no-input", "--prefer-binary", "--report", str(report), *options]
        try:
            done = subprocess.run(
                [*command, *requirements],
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"pip did not find an answer in {timeout:.0f} s") from None
        if done.returncode:
            raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-12:]))
        found = json.loads(report.read_text())["install"]
    return {canonical(one["metadata"]["name"]): one["metadata"]["version"] for one in found}


def differences(
    locked: Mapping[str, str], resolved: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """(name, locked or "-", newest or "-") of every package that is not the same in both."""
    return [
        (name, locked.get(name, "-"), resolved.get(name, "-"))
        for name in sorted({*locked, *resolved})
        if _public(locked.get(name, "-")) != _public(resolved.get(name, "-"))
    ]


def _public(version: str) -> str:
    """Without the local part: a CPU build is the same version."""
    return version.partition("+")[0]


def table(rows: Iterable[tuple[str, str, str]]) -> str:
    """The rows under their heads, in columns."""
    lines = [("package", "locked", "newest"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; see the module for the exit status."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("--timeout", type=float, default=RESOLVE_SECONDS, help="seconds for pip")
    timeout = asked.parse_args(argv).timeout
    locked = {canonical(name): version for name, version in pins(LOCK.read_text()).items()}
    apart = data_wheels()
    asks = [
        requirement
        for requirement in wanted(project()["optional-dependencies"])
        if canonical(re.split(r"[\s;\[<>=!~(]", requirement, maxsplit=1)[0]) not in apart
    ]
    asks += [f"{name}=={locked[name]}" for name in PINNED]
    try:
        resolved = newest(asks, timeout=timeout)
        resolved |= newest(sorted(apart), "--no-deps", timeout=timeout)
    except RuntimeError as error:
        print(f"the extras do not resolve:\n{error}", file=sys.stderr)
        return BROKEN
    moved = differences(locked, resolved)
    if not moved:
        print(f"{len(resolved)} packages, all as locked")
        return 0
    print(table(moved))
    print(f"{len(moved)} of {len({*locked, *resolved})} packages differ from {LOCK.name}")
    return MOVED


if __name__ == "__main__":
    sys.exit(main())
