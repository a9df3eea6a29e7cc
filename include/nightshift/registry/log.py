"""The append-only log of verdicts.

    registry/verdicts/<night>-<key16>.json

One object a verdict, created and never changed; a night that ran again with other inputs adds
another. Which of them counts is what the partition of `verdict` stands for, so a verdict whose
stage was killed before its manifest never counts.
"""

from __future__ import annotations

import json
from typing import Any

from nightshift.lake import Lake, journal

FOLDER = "registry/verdicts"


def append(lake: Lake, verdict: dict[str, Any], *, key16: str) -> bool:
    """Add a verdict; False when it is in the log already."""
    body = json.dumps(verdict | {"key": key16}, indent=1, sort_keys=True, ensure_ascii=False)
    return lake.create(f"{FOLDER}/{verdict['night']}-{key16}.json", body.encode())


def verdicts(lake: Lake) -> list[dict[str, Any]]:
    """Every verdict, by night; `current` says whether it is the one that its night stands for."""
    found = list(journal.entries(lake, FOLDER))
    keys = {night: _current_key(lake, night) for night in {v["night"] for v in found}}
    for verdict in found:
        verdict["current"] = keys[verdict["night"]] == verdict["key"]
    return sorted(found, key=lambda v: (v["end"], v["night"], v["current"], v["key"]))


def _current_key(lake: Lake, night: str) -> str | None:
    manifest = lake.find("verdict", f"night={night}")
    return None if manifest is None else manifest.key[:16]
