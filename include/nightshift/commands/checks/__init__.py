"""What `nightshift doctor` looks at. A check yields findings; it never raises for what it finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and the way out where it is not well."""

    status: str
    what: str
    detail: str
    hint: str = ""
