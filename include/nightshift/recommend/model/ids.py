"""Ids inside a safetensors file, which holds numbers alone."""

from __future__ import annotations

import json


def pack(ids: list[str]) -> bytes:
    """Ids one a line, each escaped as inside a JSON string: an id may hold a line break."""
    return "\n".join(json.dumps(name, ensure_ascii=False)[1:-1] for name in ids).encode()


def unpack(packed: bytes) -> list[str]:
    """What `pack` was given; an empty list cannot be told from one empty id, and is not asked."""
    quoted = packed.decode().replace("\n", '","')
    ids: list[str] = json.loads(f'["{quoted}"]')
    return ids
