"""The live alias: which state of which line is served.

    registry/live/000001.json, 000002.json …

The highest number is the alias. To move it is to create the next number exclusively: whoever comes
second reads again and decides anew (compare-and-swap). Entries are never changed or removed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from nightshift.errors import DatasetMissing, LakeError, UsageError
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night, parse_time
from nightshift.settings import Approval

FOLDER = "registry/live"
MOVE, APPROVED, ROLLBACK, PIN, UNPIN = "move", "approved", "rollback", "pin", "unpin"
WAITS = "it waits for approval"


@dataclass(frozen=True, slots=True)
class Alias:
    """One entry. `high_water` is the latest night's end that ever moved the alias."""

    number: int
    line: str
    night: str
    partition: str
    key: str
    digest: str
    high_water: str
    kind: str  # move, approved, rollback, pin, unpin
    reason: str
    at: str

    @property
    def state(self) -> tuple[str, str]:
        """Partition and key of the state: `lake.at_key("state", *alias.state)`."""
        return self.partition, self.key

    @property
    def knows(self) -> datetime:
        """The time up to which the state knows everything."""
        return parse_time(self.partition.removeprefix("as_of="))

    def serves(self, state: Manifest, line: str) -> bool:
        """Is it `line` of `state` that is served?"""
        return (*self.state, self.line) == (state.partition, state.key, line)


@dataclass(frozen=True, slots=True)
class Move:
    """What came of an attempt: the alias as it is now, and whether this call moved it."""

    alias: Alias | None
    moved: bool
    why: str

    def serves(self, state: Manifest, line: str) -> bool:
        """Is `line` of `state` what is live now?"""
        return self.alias is not None and self.alias.serves(state, line)


def live(lake: Lake) -> Alias | None:
    """The alias as it is now; None before the first promotion."""
    numbers = _numbers(lake)
    return _read(lake, numbers[-1]) if numbers else None


def history(lake: Lake) -> list[Alias]:
    """Every entry, first to last."""
    return [_read(lake, number) for number in _numbers(lake)]


def latest_states(lake: Lake, count: int) -> list[tuple[str, str]]:
    """Partition and key of the states that were live last, the live one first; no state twice."""
    found: dict[tuple[str, str], None] = {}
    for number in reversed(_numbers(lake)):
        if len(found) == count:
            break
        found.setdefault(_read(lake, number).state)
    return list(found)


def move_alias(
    lake: Lake,
    state: Manifest,
    line: str,
    night: Night,
    *,
    approval: Approval = "none",
    approved: str | None = None,
) -> Move:
    """Let `line` of `state` be live, unless a later night has moved the alias already.

    An older night (a backfill) never moves it back; the same night may move it again when it was
    run anew with another result, except after a rollback, which stands until a newer night, and
    under a pin, which stands until it is taken away.

    Args:
        approval: which moves wait for a person: none, those to another line, or all.
        approved: a person's reason; nothing waits then.
    """
    while True:
        current = live(lake)
        if current is not None:
            if current.serves(state, line):
                return Move(current, False, "this state is live already")
            reached = datetime.fromisoformat(current.high_water)
            if current.kind == PIN:
                return Move(current, False, f"pinned: {current.reason}")
            if night.end < reached:
                return Move(current, False, f"a later night, {current.night}, is live")
            if night.end == reached and current.kind == ROLLBACK and approved is None:
                return Move(current, False, f"rolled back: {current.reason}")
        if approved is None and _waits(approval, current, line):
            return Move(current, False, WAITS)
        wanted = Alias(
            number=1 if current is None else current.number + 1,
            line=line,
            night=night.key,
            partition=state.partition,
            key=state.key,
            digest=state.digest,
            high_water=night.end.isoformat(),
            kind=MOVE if approved is None else APPROVED,
            reason=approved or "the verdict of the night",
            at=_now(),
        )
        if _create(lake, wanted):
            return Move(wanted, True, wanted.reason)


def _waits(approval: Approval, current: Alias | None, line: str) -> bool:
    other_line = current is None or current.line != line
    return approval == "every_night" or (approval == "new_line" and other_line)


def rollback(lake: Lake, *, to: int | str | None = None, reason: str) -> Alias:
    """Move the alias back on purpose; it stays there until a night later than any so far.

    Args:
        to: the number of an entry, or a night's key; None: the state that was live before this one.

    Raises:
        UsageError: nothing is live, or there is no such entry.
        DatasetMissing: the state is gone from the lake.
    """
    return _put_back(lake, ROLLBACK, to, reason)


def pin(lake: Lake, *, to: int | str | None = None, reason: str) -> Alias:
    """Keep a state live whatever later nights decide, until `unpin`.

    Args:
        to: as for `rollback`; None: what is live now.

    Raises:
        UsageError, DatasetMissing: as for `rollback`.
    """
    return _put_back(lake, PIN, to, reason)


def unpin(lake: Lake, *, reason: str) -> Alias:
    """Let the next night move the alias again; what is live stays until then.

    Raises:
        UsageError: nothing is pinned.
    """
    current = live(lake)
    if current is None or current.kind != PIN:
        raise UsageError("Nothing is pinned.", hint="`nightshift champion` lists what is live")
    return _put_back(lake, UNPIN, None, reason)


def _put_back(lake: Lake, kind: str, to: int | str | None, reason: str) -> Alias:
    """An entry for a state that has been live before."""
    if not reason.strip():
        raise UsageError(f"A {kind} needs a reason.", hint="say why in one sentence: --reason")
    while True:
        entries = history(lake)
        target = _target(entries, to, before=kind == ROLLBACK)
        if lake.at_key("state", *target.state) is None:
            raise DatasetMissing(
                f"The state of night {target.night} is no longer in the lake.",
                hint="choose another entry (`nightshift champion` lists them)",
                dataset=f"state/{target.partition}",
            )
        wanted = replace(
            target,
            number=entries[-1].number + 1,
            high_water=entries[-1].high_water,
            kind=kind,
            reason=reason,
            at=_now(),
        )
        if _create(lake, wanted):
            return wanted


def _target(entries: list[Alias], to: int | str | None, *, before: bool) -> Alias:
    """The last entry that fits: `to`; without it the state before this one, or this one."""
    if not entries:
        raise UsageError("Nothing is live yet.", hint="run a night first")
    current = entries[-1]
    if to is not None:
        named = f"an entry {to}"
        fitting = [e for e in entries if str(to) in (str(e.number), e.night)]
    elif before:
        named = "an earlier state"
        fitting = [e for e in entries if (e.state, e.line) != (current.state, current.line)]
    else:
        return current
    if not fitting:
        raise UsageError(
            f"There is not {named} to go to.",
            hint="`nightshift champion` lists every entry with its number and night",
        )
    return fitting[-1]


def _numbers(lake: Lake) -> list[int]:
    return sorted(int(n.removesuffix(".json")) for n in lake.names(FOLDER) if n.endswith(".json"))


def _path(number: int) -> str:
    return f"{FOLDER}/{number:06}.json"


def _read(lake: Lake, number: int) -> Alias:
    data = lake.read_bytes(_path(number))
    if data is None:
        raise LakeError(
            f"The alias entry {_path(number)} was listed and cannot be read.", hint="try again"
        )
    raw: dict[str, Any] = json.loads(data)
    return Alias(**raw)


def _create(lake: Lake, alias: Alias) -> bool:
    body = json.dumps(asdict(alias), indent=1, sort_keys=True, ensure_ascii=False)
    return lake.create(_path(alias.number), body.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
