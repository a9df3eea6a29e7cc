"""The champion at a time: what the verdict log says was live."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from nightshift.lake import Lake
from nightshift.registry.log import verdicts


def champion(lake: Lake, as_of: datetime) -> dict[str, Any] | None:
    """The verdict that holds at a time: of the last night that had ended by then; None before any.

    A verdict names the line; the state that it made live is the one of that line at `end`.
    """
    if as_of.tzinfo is None:
        as_of = as_of.replace(tzinfo=UTC)
    held = [v for v in verdicts(lake) if v["current"] and datetime.fromisoformat(v["end"]) <= as_of]
    return held[-1] if held else None
