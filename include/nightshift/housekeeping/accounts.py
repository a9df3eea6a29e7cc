"""What housekeeping found and did: a row per kind, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


@dataclass(slots=True)
class Row:
    """One kind of dataset, or one cache: how many of what stay and go, in bytes as well."""

    kept: int = 0
    kept_bytes: int = 0
    gone: int = 0
    freed: int = 0
    why: Counter[str] = field(default_factory=Counter)
    """How many go for which reason."""

    def keep(self, size: int) -> None:
        self.kept += 1
        self.kept_bytes += size

    def go(self, size: int, why: str) -> None:
        self.gone += 1
        self.freed += size
        self.why[why] += 1

    @property
    def seen(self) -> bool:
        return bool(self.kept or self.gone)

    def to_json(self) -> dict[str, Any]:
        return {
            "kept": self.kept,
            "kept_bytes": self.kept_bytes,
            "gone": self.gone,
            "freed": self.freed,
            "why": dict(self.why),
        }


@dataclass(slots=True)
class Accounts:
    """Of one run."""

    lake: str
    dry_run: bool
    newest: datetime | None
    """Up to when the newest state knows everything."""
    since: datetime | None
    """Nights that end after it are kept in full."""
    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, kind: str) -> Row:
        return self.rows.setdefault(kind, Row())

    @property
    def freed(self) -> int:
        return sum(row.freed for row in self.rows.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "lake": self.lake,
            "dry_run": self.dry_run,
            "newest": self.newest.isoformat() if self.newest else None,
            "kept_since": self.since.isoformat() if self.since else None,
            "gone": sum(row.gone for row in self.rows.values()),
            "freed": self.freed,
            "kinds": {kind: row.to_json() for kind, row in self.rows.items() if row.seen},
        }

    def lines(self) -> Iterator[str]:
        """The table, and a sentence below it."""
        gone = "to go" if self.dry_run else "gone"
        rows = [("kind", "kept", "size", gone, "frees" if self.dry_run else "freed", "why")]
        rows += [
            (
                kind,
                f"{row.kept:,}",
                size_of(row.kept_bytes),
                f"{row.gone:,}",
                size_of(row.freed),
                "; ".join(f"{why}: {count:,}" for why, count in sorted(row.why.items())),
            )
            for kind, row in self.rows.items()
            if row.seen
        ]
        yield from _aligned(rows)
        yield ""
        if self.since is None:
            yield "No state yet: every night is kept in full."
        else:
            yield f"Nights after {self.since:%Y-%m-%d %H:%M} UTC are kept in full."
        would = "would free" if self.dry_run else "freed"
        yield f"Housekeeping {would} {size_of(self.freed)}."


def size_of(count: int) -> str:
    """Bytes as a person reads them: `1.5 GB`."""
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} {_UNITS[-1]}"


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Words to the left, figures to the right."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
