"""An append-only log: a folder of JSON objects, each created once and never changed.

registry/approvals/000001.json, 000002.json …
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nightshift.lake.objects import Objects


def append(lake: Objects, folder: str, entry: Mapping[str, Any]) -> int:
    """Add an entry under the next free number, which it returns; nobody else gets that number."""
    body = json.dumps(entry, indent=1, sort_keys=True, ensure_ascii=False).encode()
    number = len(lake.names(folder)) + 1
    while not lake.create(f"{folder}/{number:06}.json", body):
        number += 1
    return number


def entries(lake: Objects, folder: str) -> Iterator[dict[str, Any]]:
    """Every entry, in the order of their names."""
    for name in lake.names(folder):
        data = lake.read_bytes(f"{folder}/{name}")
        if data is not None:
            yield json.loads(data)
