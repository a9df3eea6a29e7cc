"""Lines that a stage writes to stderr, as a task's log shows them: text stays, JSON is unpacked."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says, and how loud (a level of `logging`)."""

    level: int
    text: str


def read(raw: str) -> Line:
    """A line of text as it is; a line of JSON (`log.format`) as its text would have been."""
    fields = _object(raw)
    if fields is None:
        return Line(logging.INFO, raw)
    level = logging.getLevelNamesMapping().get(str(fields["level"]).upper(), logging.INFO)
    message = str(fields["message"])
    if fields.get("logger") == "nightshift":  # the last word of a command
        return Line(level, f"nightshift: {message}")
    text = f"{_clock(fields)}{message}"
    return Line(level, f"{text}\n{fields['traceback']}" if fields.get("traceback") else text)


def _object(raw: str) -> dict[str, Any] | None:
    if not raw.startswith("{"):
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"level", "message"} <= found.keys() else None


def _clock(fields: dict[str, Any]) -> str:
    try:
        moment = datetime.fromisoformat(str(fields.get("time", "")))
    except ValueError:
        return ""
    return f"{moment.astimezone():%H:%M:%S} "
