"""The live alias: which state of which line is served.

    registry/live/000001.json, 000002.json …

The highest number is the alias. To move it is to create the next number exclusively: whoever comes
second reads again and decides anew (compare-and-swap). Entries are never changed or removed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from nightshift.errors import DatasetMissing, LakeError, UsageError
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night

FOLDER = "registry/live"


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
    kind: str  # move, or rollback
    reason: str
    at: str

    @property
    def state(self) -> tuple[str, str]:
        """Partition and key of the state: `lake.at_key("state", *alias.state)`."""
        return self.partition, self.key


@dataclass(frozen=True, slots=True)
class Move:
    """What came of an attempt: the alias as it is now, and whether this call moved it."""

    alias: Alias
    moved: bool
    why: str


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


def move_alias(lake: Lake, state: Manifest, line: str, night: Night) -> Move:
    """Let `line` of `state` be live, unless a later night has moved the alias already.

    An older night (a backfill) never moves it back; the same night may move it again when it was
    run anew with another result, except after a rollback, which stands until a newer night.
    """
    while True:
        current = live(lake)
        if current is not None:
            if (current.partition, current.key, current.line) == (state.partition, state.key, line):
                return Move(current, False, "this state is live already")
            reached = datetime.fromisoformat(current.high_water)
            if night.end < reached:
                return Move(current, False, f"a later night, {current.night}, is live")
            if night.end == reached and current.kind == "rollback":
                return Move(current, False, f"rolled back: {current.reason}")
        wanted = Alias(
            number=1 if current is None else current.number + 1,
            line=line,
            night=night.key,
            partition=state.partition,
            key=state.key,
            digest=state.digest,
            high_water=night.end.isoformat(),
            kind="move",
            reason="the verdict of the night",
            at=_now(),
        )
        if _create(lake, wanted):
            return Move(wanted, True, wanted.reason)


def rollback(lake: Lake, *, to: int | str | None = None, reason: str) -> Alias:
    """Move the alias back on purpose; it stays there until a night later than any so far.

    Args:
        to: the number of an entry, or a night's key; None: the state that was live before this one.

    Raises:
        UsageError: nothing is live, or there is no such entry.
        DatasetMissing: the state is gone from the lake.
    """
    if not reason.strip():
        raise UsageError("A rollback needs a reason.", hint="say why in one sentence: --reason")
    while True:
        entries = history(lake)
        target = _target(entries, to)
        if lake.at_key("state", *target.state) is None:
            raise DatasetMissing(
                f"The state of night {target.night} is no longer in the lake.",
                hint="choose another entry (`nightshift champion` lists them)",
                dataset=f"state/{target.partition}",
            )
        wanted = Alias(
            number=entries[-1].number + 1,
            line=target.line,
            night=target.night,
            partition=target.partition,
            key=target.key,
            digest=target.digest,
            high_water=entries[-1].high_water,
            kind="rollback",
            reason=reason,
            at=_now(),
        )
        if _create(lake, wanted):
            return wanted


def _target(entries: list[Alias], to: int | str | None) -> Alias:
    if not entries:
        raise UsageError("Nothing is live yet.", hint="run a night first")
    current = entries[-1]
    if to is None:
        others = [e for e in entries if (e.state, e.line) != (current.state, current.line)]
        named = "an earlier state"
    else:
        named = f"an entry {to}"
        others = [e for e in entries if str(to) in (str(e.number), e.night)]
    if not others:
        raise UsageError(
            f"There is not {named} to roll back to.",
            hint="`nightshift champion` lists every entry with its number and night",
        )
    return others[-1]


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
