"""How much the live model lags the clock: what it knows against what has happened since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.errors import LakeError, ModelLags, UsageError
from nightshift.lake import Lake
from nightshift.registry.alias import PIN, live
from nightshift.registry.approval import REJECTED, ROLLED_BACK, WAITING, candidate
from nightshift.settings import Settings


@dataclass(frozen=True, slots=True)
class Freshness:
    """The live model knows everything before `knows`; `lag_hours` is how far that is from now."""

    night: str
    line: str
    knows: datetime
    lag_hours: float


def freshness(lake: Lake, now: datetime) -> Freshness | None:
    """None before any model is live."""
    alias = live(lake)
    if alias is None:
        return None
    lag = (now - alias.knows) / timedelta(hours=1)
    return Freshness(alias.night, alias.line, alias.knows, round(lag, 2))


def held_back(lake: Lake) -> str:
    """What keeps newer models from going live; empty when nothing does."""
    alias = live(lake)
    if alias is not None and alias.kind == PIN:
        return f"pinned: {alias.reason}"
    try:
        offered = candidate(lake)
    except (UsageError, LakeError):
        return ""  # nothing newer is offered
    if offered.standing not in (WAITING, REJECTED, ROLLED_BACK):
        return ""
    said = "waits for a person" if offered.waits else f"was {offered.standing}"
    return f"the model of night {offered.night} {said}"


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
        why = held_back(lake)
        because = f" ({why})" if why else ""
        raise ModelLags(
            f"The live model, of night {found.night}, knows nothing of the last "
            f"{found.lag_hours:.0f} hours{because}; {limit:.0f} are allowed.",
            hint="`nightshift status` shows the night that is missing, `nightshift champion` "
            "what is live",
        )
    return found
