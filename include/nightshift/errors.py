"""The error tree: what went wrong, the way out, and the exit code.

    NightshiftError            1
    ├── UsageError             2   a wrong option, setting or date
    │   └── SettingsError      2
    │       └── Unprotected    2   a server that others could reach, without a token
    ├── StoreError            10   the event store cannot be reached or lacks a view
    ├── LakeError             11   the lake cannot be reached or holds something broken
    │   ├── DatasetMissing    12   a stage before this one has not run
    │   ├── LeaseHeld         13   another run works on the same (night, stage)
    │   └── DiskFull          14   no space left where the lake or its scratch lives
    ├── BadInput              20   the shop's data breaks the contract (file, row, column)
    ├── BatchStopped          30   an inspection gate stopped the whole batch
    ├── GenerationFailed      31   more shards failed than the failure budget allows
    ├── EngineError           32   a language model could not be loaded or answered garbage
    ├── ParentMissing         40   the state this night starts from does not exist
    ├── ModelRejected         41   a model failed its load check
    ├── ModelLags             42   the live model knows too little of the last days
    └── StageFailed           50   anything else inside a stage, with its cause

Exit codes are part of the command line's contract: scripts and pods branch on them.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

__all__ = [
    "BadInput",
    "BatchStopped",
    "DatasetMissing",
    "DiskFull",
    "EngineError",
    "GenerationFailed",
    "LakeError",
    "LeaseHeld",
    "ModelLags",
    "ModelRejected",
    "NightshiftError",
    "ParentMissing",
    "SettingsError",
    "StageFailed",
    "StoreError",
    "Unprotected",
    "UsageError",
]


class NightshiftError(Exception):
    """Base of every error that Nightshift raises on purpose.

    `hint` is the way out, in one sentence. `context` holds the place: night, stage, shard,
    dataset, file, row, column; whoever knows a place adds it with `at`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: dict[str, Any] = {k: v for k, v in context.items() if v is not None}

    def at(self, **context: Any) -> NightshiftError:
        """Add the place where it happened; what is already known stays."""
        for name, value in context.items():
            if value is not None:
                self.context.setdefault(name, value)
        return self

    def __str__(self) -> str:
        place = ", ".join(f"{name} {value}" for name, value in self.context.items())
        text = f"{self.message} [{place}]" if place else self.message
        return f"{text} Hint: {self.hint}" if self.hint else text

    def as_json(self) -> str:
        """One line of JSON: what a pod leaves at /dev/termination-log."""
        return json.dumps(
            {
                "error": type(self).__name__,
                "message": self.message,
                "hint": self.hint,
                "exit_code": self.exit_code,
                **{name: str(value) for name, value in self.context.items()},
            },
            ensure_ascii=False,
        )


class UsageError(NightshiftError):
    exit_code = 2


class SettingsError(UsageError):
    pass


class Unprotected(SettingsError):
    pass


class StoreError(NightshiftError):
    exit_code = 10


class LakeError(NightshiftError):
    exit_code = 11


class DatasetMissing(LakeError):
    exit_code = 12


class LeaseHeld(LakeError):
    exit_code = 13


class DiskFull(LakeError):
    exit_code = 14


class BadInput(NightshiftError):
    exit_code = 20


class BatchStopped(NightshiftError):
    exit_code = 30


class GenerationFailed(NightshiftError):
    exit_code = 31


class EngineError(NightshiftError):
    exit_code = 32


class ParentMissing(NightshiftError):
    exit_code = 40


class ModelRejected(NightshiftError):
    exit_code = 41


class ModelLags(NightshiftError):
    exit_code = 42


class StageFailed(NightshiftError):
    exit_code = 50
