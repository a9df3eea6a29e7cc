"""Log lines on stderr: text for a person, or one JSON object a line for what collects logs.

    {"time": "2026-11-20T02:00:07.512+00:00", "level": "info", "logger": "nightshift.stage",
     "message": "generate 2026-11-19 negatives-000: working",
     "night": "2026-11-19", "stage": "generate", "parts": {"shard": "negatives-000"}}

An error that ends a command also has `error` (its class), `hint`, `exit_code` and, in `context`,
what else is known of the place: dataset, file, row.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nightshift.errors import NightshiftError

if TYPE_CHECKING:
    from nightshift.settings import LogSettings

LOGGER = "nightshift"
_FIELDS = ("night", "stage")
_PARTS = ("shard", "arm", "seed")

_place: ContextVar[dict[str, Any]] = ContextVar("place", default={})  # noqa: B039  # never changed
_format: str | None = None
"""What this process logs in; None until `set_up`."""


def set_up(settings: LogSettings) -> None:
    """Log to stderr by these settings, unless the process that imports us logs already."""
    global _format
    _format = settings.format
    handler = logging.StreamHandler(sys.stderr)
    if as_json():
        handler.setFormatter(JsonLines())
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=settings.level.upper())


def is_set_up() -> bool:
    return _format is not None


def as_json() -> bool:
    """Whether this process logs JSON; then nothing draws a bar either."""
    return _format == "json"


@contextmanager
def at(**place: str) -> Iterator[None]:
    """Lines that are logged inside say where: night, stage, shard, arm, seed."""
    token = _place.set(_place.get() | place)
    try:
        yield
    finally:
        _place.reset(token)


def last_word(last: NightshiftError | str) -> None:
    """What a command ends with, whatever the level: `nightshift: …`, or JSON."""
    record = logging.LogRecord(LOGGER, logging.ERROR, "", 0, "%s", (last,), None)
    line = JsonLines().format(record) if as_json() else f"{LOGGER}: {last}"
    print(line, file=sys.stderr)  # noqa: T201


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    exc_info = (kind, error, trace)
    logging.getLogger(LOGGER).critical("%s: %s", kind.__name__, error, exc_info=exc_info)


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        error = _error_of(record)
        place = _place.get() | (error.context if error else {})
        fields |= {name: place[name] for name in _FIELDS if name in place}
        parts = {name: place[name] for name in _PARTS if name in place}
        fields |= {"parts": parts} if parts else {}
        if error is not None:
            rest = {k: v for k, v in place.items() if k not in (*_FIELDS, *_PARTS)}
            fields |= {
                "error": type(error).__name__,
                "hint": error.hint,
                "exit_code": error.exit_code,
                **({"context": rest} if rest else {}),
            }
        if "progress" in record.__dict__:
            fields["progress"] = record.__dict__["progress"]
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


def _error_of(record: logging.LogRecord) -> NightshiftError | None:
    """The error that a record is about: logged as it is, or with its traceback."""
    said = record.args if isinstance(record.args, tuple) else ()
    raised = record.exc_info[1:2] if record.exc_info else ()
    return next((one for one in (*said, *raised) if isinstance(one, NightshiftError)), None)
