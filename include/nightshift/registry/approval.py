"""A person's yes or no to a night's model, where `promotion.approval` asks for one.

    registry/approvals/000001.json, 000002.json …

Verdicts say what the evidence says; approvals say what goes live. An entry is never changed: who
decided what, when and why. A no holds nothing up: the next night offers its own model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from nightshift.errors import UsageError
from nightshift.lake import Lake, journal
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.registry.alias import PIN, Move, live, move_alias
from nightshift.settings import Settings
from nightshift.stages import night_partition

FOLDER = "registry/approvals"
Choice = Literal["approved", "rejected"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A night's model, and how it stands."""

    night: str
    line: str
    digest: str
    decision: str
    standing: str  # waiting, live, passed (a later night is live), pinned, rejected
    card: str

    @property
    def waits(self) -> bool:
        return self.standing == "waiting"


def candidate(lake: Lake, night: Night | None = None) -> Candidate:
    """What a night offers; without one, what the newest scored night offers.

    Raises:
        UsageError: no night has been scored yet.
        DatasetMissing: this one has not.
    """
    scored, state, line = _offer(lake, night)
    night = Night.parse(scored.partition.removeprefix("night="))
    verdict = lake.get("verdict", night_partition(night))
    card = lake.local_path(verdict.file("model_card.md")).read_text()
    standing = _standing(lake, state, line, night)
    return Candidate(night.key, line, state.digest, str(verdict.stats["decision"]), standing, card)


def _offer(lake: Lake, night: Night | None) -> tuple[Manifest, Manifest, str]:
    if night is None:
        scored_ones = (p.removeprefix("night=") for p in lake.partitions("recommendations"))
        night = max(map(Night.parse, scored_ones), key=lambda one: one.end, default=None)
    if night is None:
        raise UsageError("No night has been scored yet.", hint="run a night first")
    scored = lake.get("recommendations", night_partition(night))
    return scored, lake.get_ref(scored.inputs["state"]), str(scored.stats["line"])


def _standing(lake: Lake, state: Manifest, line: str, night: Night) -> str:
    current = live(lake)
    if current is not None:
        if current.state == (state.partition, state.key) and current.line == line:
            return "live"
        if current.kind == PIN:
            return "pinned"
        if night.end < datetime.fromisoformat(current.high_water):
            return "passed"
    decided = [entry for entry in decisions(lake) if entry["digest"] == state.digest]
    return "rejected" if decided and decided[-1]["choice"] == "rejected" else "waiting"


def approve(
    lake: Lake, settings: Settings, night: Night | None, *, by: str, reason: str
) -> tuple[Candidate, Move]:
    """Make a night's model live with its recommendations, and record who said so.

    Raises:
        UsageError: a later night is live, or another one is pinned.
        DatasetMissing: the night has not been scored.
    """
    from nightshift.registry.serving import serve  # polars and SQLAlchemy: only to write

    offered = candidate(lake, night)
    _, state, line = _offer(lake, Night.parse(offered.night))
    said = f"approved by {by}: {reason}"
    move = move_alias(lake, state, line, Night.parse(offered.night), approved=said)
    if not move.serves(state, line) or move.alias is None:
        raise UsageError(
            f"The model of night {offered.night} cannot go live: {move.why}.",
            hint="`nightshift champion` shows what is live; `nightshift unpin` frees a pin",
        )
    # Served before it is recorded: a rerun after a crash serves again and records once more.
    serve(settings, lake, move.alias)
    _record(lake, offered, "approved", by, reason)
    return offered, move


def reject(lake: Lake, night: Night | None, *, by: str, reason: str) -> Candidate:
    """Record a no. What is live stays live."""
    offered = candidate(lake, night)
    _record(lake, offered, "rejected", by, reason)
    return offered


def decisions(lake: Lake) -> list[dict[str, Any]]:
    """Every entry, first to last."""
    return list(journal.entries(lake, FOLDER))


def _record(lake: Lake, offered: Candidate, choice: Choice, by: str, reason: str) -> None:
    body = {name: value for name, value in asdict(offered).items() if name != "card"}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    journal.append(lake, FOLDER, body | {"choice": choice, "by": by, "reason": reason, "at": at})
