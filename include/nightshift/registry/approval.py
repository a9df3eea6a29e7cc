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
from nightshift.registry.alias import PIN, ROLLBACK, Alias, live, move_alias
from nightshift.settings import Settings
from nightshift.stages import night_partition

FOLDER = "registry/approvals"
Choice = Literal["approved", "rejected"]


WAITING, LIVE, PASSED, PINNED, REJECTED, ROLLED_BACK = (
    "waiting",
    "live",
    "passed",
    "pinned",
    "rejected",
    "rolled back",
)
"""How a night's model stands. `passed`: a later night is live."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A night's model, and how it stands."""

    night: str
    line: str
    digest: str
    decision: str
    standing: str
    card: str

    @property
    def waits(self) -> bool:
        return self.standing == WAITING


def candidate(lake: Lake, night: Night | None = None) -> Candidate:
    """What a night offers; without one, what the newest scored night offers.

    Raises:
        UsageError: no night has been scored yet.
        DatasetMissing: this one has not.
    """
    return _offer(lake, night)[0]


def _offer(lake: Lake, night: Night | None) -> tuple[Candidate, Manifest]:
    """The candidate and its state, from one reading; the card is of the verdict it came from."""
    if night is None:
        scored_ones = (p.removeprefix("night=") for p in lake.partitions("recommendations"))
        night = max(map(Night.parse, scored_ones), key=lambda one: one.end, default=None)
    if night is None:
        raise UsageError("No night has been scored yet.", hint="run a night first")
    scored = lake.get("recommendations", night_partition(night))
    state, line = lake.get_ref(scored.inputs["state"]), str(scored.stats["line"])
    verdict = lake.get_ref(state.inputs["verdict"])
    offered = Candidate(
        night=night.key,
        line=line,
        digest=state.digest,
        decision=str(verdict.stats["decision"]),
        standing=_standing(lake, state, line, night),
        card=lake.local_path(verdict.file("model_card.md")).read_text(),
    )
    return offered, state


def _standing(lake: Lake, state: Manifest, line: str, night: Night) -> str:
    current = live(lake)
    if current is not None:
        reached = datetime.fromisoformat(current.high_water)
        if current.serves(state, line):
            return LIVE
        if current.kind == PIN:
            return PINNED
        if night.end < reached:
            return PASSED
        if current.kind == ROLLBACK and night.end == reached:
            return ROLLED_BACK
    decided = [entry for entry in decisions(lake) if entry["digest"] == state.digest]
    return REJECTED if decided and decided[-1]["choice"] == "rejected" else WAITING


def approve(
    lake: Lake,
    settings: Settings,
    night: Night | None,
    *,
    by: str,
    reason: str,
    digest: str | None = None,
) -> tuple[Candidate, Alias]:
    """Make a night's model live with its recommendations, and record who said so.

    Args:
        digest: of the state that the person was shown; None: whatever the night offers now.

    Raises:
        UsageError: a later night is live, another one is pinned, or it is not what was shown.
        DatasetMissing: the night has not been scored.
    """
    from nightshift.registry.serving import serve  # polars and SQLAlchemy: only to write

    offered, state = _offer(lake, night)
    _same(offered, digest)
    said = f"approved by {by}: {reason}"
    move = move_alias(lake, state, offered.line, Night.parse(offered.night), approved=said)
    if move.alias is None or not move.serves(state, offered.line):
        raise UsageError(
            f"The model of night {offered.night} cannot go live: {move.why}.",
            hint="`nightshift champion` shows what is live; `nightshift unpin` frees a pin",
        )
    # Served before it is recorded: a rerun after a crash serves again and records once more.
    serve(settings, lake, move.alias, back=True)
    _record(lake, offered, "approved", by, reason)
    return offered, move.alias


def reject(
    lake: Lake, night: Night | None, *, by: str, reason: str, digest: str | None = None
) -> Candidate:
    """Record a no. What is live stays live; a model that nobody has to decide on is left alone.

    Raises:
        UsageError: it is not what was shown.
        DatasetMissing: the night has not been scored.
    """
    offered = candidate(lake, night)
    _same(offered, digest)
    if offered.standing not in (LIVE, PASSED):
        _record(lake, offered, "rejected", by, reason)
    return offered


def _same(offered: Candidate, digest: str | None) -> None:
    if digest is not None and digest != offered.digest:
        raise UsageError(
            f"Night {offered.night} was made anew since it was shown: it offers another model.",
            hint="look at it again: `nightshift candidate`, or trigger `promote`",
        )


def decisions(lake: Lake) -> list[dict[str, Any]]:
    """Every entry, first to last."""
    return list(journal.entries(lake, FOLDER))


def _record(lake: Lake, offered: Candidate, choice: Choice, by: str, reason: str) -> None:
    body = {name: value for name, value in asdict(offered).items() if name != "card"}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    journal.append(lake, FOLDER, body | {"choice": choice, "by": by, "reason": reason, "at": at})
