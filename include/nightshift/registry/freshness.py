"""How much the live model lags the clock: what it knows against what has happened since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.errors import ModelLags
from nightshift.lake import Lake
from nightshift.night import parse_time
from nightshift.registry.alias import PIN, live
from nightshift.registry.approval import candidate
from nightshift.settings import Settings


@dataclass(frozen=True, slots=True)
class Freshness:
    """The live model knows everything before `knows`; `lag_hours` is how far that is from now."""

    night: str
    line: str
    knows: datetime
    lag_hours: float
    why: str  # empty, or what keeps newer models from going live


def freshness(lake: Lake, now: datetime) -> Freshness | None:
    """None before any model is live."""
    alias = live(lake)
    if alias is None:
        return None
    knows = parse_time(alias.partition.removeprefix("as_of="))
    why = f"pinned: {alias.reason}" if alias.kind == PIN else ""
    if not why and (offered := candidate(lake)).waits:
        why = f"the model of night {offered.night} waits for approval"
    lag = (now - knows) / timedelta(hours=1)
    return Freshness(alias.night, alias.line, knows, round(lag, 2), why)


def check(lake: Lake, settings: Settings, now: datetime) -> Freshness:
    """What is live, if it is fresh enough.

    Raises:
        ModelLags: nothing is live, or it knows less than `promotion.max_lag_hours` allows.
    """
    found = freshness(lake, now)
    if found is None:
        raise ModelLags("No model is live.", hint="run a night; `nightshift status` says which")
    limit = settings.promotion.max_lag_hours
    if found.lag_hours > limit:
        because = f" ({found.why})" if found.why else ""
        raise ModelLags(
            f"The live model, of night {found.night}, knows nothing of the last "
            f"{found.lag_hours:.0f} hours{because}; {limit:.0f} are allowed.",
            hint="`nightshift status` shows the night that is missing, `nightshift champion` "
            "what is live",
        )
    return found
