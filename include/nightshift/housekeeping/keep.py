"""What is kept, and why: roots, and all that the nights to come reach from them.

Roots: the nights of the last `days` in full, the inner nights of the last tunings, whatever was
written or worked on within the grace, the small evidence of every night, the states that a
rollback may want, and the last adapters of the language model. With a night in full stays what it
was made from; with a state, what the next night reads through it; with an evaluation, those that
are pooled with it; and the files that a kept manifest shares, wherever they lie.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightshift.housekeeping.inventory import Found, Span, folder_of
from nightshift.settings import RetentionSettings
from nightshift.stages import STAGES

STATE, EVALUATION, RECOMMENDATIONS = "state", "evaluation", "recommendations"
ADAPTER = "adapter"
PREVIOUS = "previous"
THROUGH_A_STATE = ("recipe", "blend", EVALUATION, "verdict")
"""Inputs of a state that the night which starts from it reads (`nightshift.stages.inputs`, `tune`),
or its report; a rollback's state needs its blend so that retractions find what it learnt from."""
SERVED = ("snapshot", "vectors", "morning")
"""Inputs of a state that a server of it reads as well: what was live last can be again."""
OURS = frozenset(stage.dataset for stage in STAGES.values())


@dataclass(frozen=True, slots=True)
class Now:
    """What is known from outside the datasets."""

    oldest_touched: float
    """Written after this: within the grace."""
    at_work: frozenset[Span] = frozenset()
    """Nights that a lease says are worked on."""
    live: tuple[str, ...] = ()
    """Folders of the states that were live last."""


@dataclass(slots=True)
class Kept:
    """The marks."""

    newest: datetime | None
    """Up to when the newest state knows everything; None: there is none yet."""
    since: datetime | None
    """Nights that end after it are kept in full; None: all are."""
    why: dict[str, str] = field(default_factory=dict)
    """Folder of each dataset that is kept, and the reason."""
    files: dict[str, int] = field(default_factory=dict)
    """Paths and sizes of the files that kept datasets have in other folders."""
    _there: dict[str, int] = field(default_factory=dict)

    def bytes_in(self, folder: str) -> int:
        """Bytes of a folder that others need."""
        return self._there.get(folder, 0)

    def share(self, one: Found) -> None:
        """Keep the files that a dataset has in other folders."""
        for path, size in one.shared:
            if path not in self.files:
                self.files[path] = size
                folder = folder_of(path) or path
                self._there[folder] = self._there.get(folder, 0) + size


def mark(
    found: Mapping[str, Found], retention: RetentionSettings, now: Now, *, pool_nights: int
) -> Kept:
    """The datasets and files that are kept.

    Args:
        found: the whole inventory by folder.
        pool_nights: evaluations of as many nights make one verdict.
    """
    whole = [one for one in found.values() if one.whole]
    newest = max((one.span.end for one in whole if _is_state(one) and one.span), default=None)
    kept = Kept(newest, None if newest is None else newest - timedelta(days=retention.days))
    inner = _last_inner(whole, retention.inner_nights)
    in_full = []
    for one in whole:
        why = _in_full(one, kept.since, inner, now)
        if why:
            kept.why[one.folder] = why
            in_full.append(one)
    reached = list(_made_from(in_full, found)) + list(_parents(in_full, whole, now))
    reached += _pooled(in_full, found, pool_nights)
    for folder in reached:
        kept.why.setdefault(folder, "read by a kept night")
    for folder in _live(whole, found, now):
        kept.why.setdefault(folder, "live, or was")
    for folder in now.live:
        behind_it = found[folder].inputs if folder in found else ()
        for name, behind in behind_it:
            if name in SERVED and behind in found and found[behind].whole:
                kept.why.setdefault(behind, "served with what is live, or was")
    for folder in _last_adapters(whole, retention.adapters):
        kept.why.setdefault(folder, "a late adapter")
    for one in whole:
        if one.current and one.dataset in retention.evidence:
            kept.why.setdefault(one.folder, "evidence")
    for folder in [f for f in kept.why if _is_state(found[f])]:
        for name, behind in found[folder].inputs:
            if name in THROUGH_A_STATE and behind in found and found[behind].whole:
                kept.why.setdefault(behind, "read through a kept state")
    for folder in kept.why:
        kept.share(found[folder])
    return kept


def _in_full(one: Found, since: datetime | None, inner: frozenset[Span], now: Now) -> str | None:
    """Why a dataset is kept together with what it was made from; None: it is no such one."""
    if one.broken:
        return "its manifest cannot be read"
    if one.span is None or one.dataset not in OURS:
        return "not of a night"
    if is_at_work(one.span, now.at_work):
        return "worked on"
    if one.newest > now.oldest_touched:
        return "younger than the grace"
    if not one.current:
        return None
    if one.span.inner:
        return "of a late tuning" if one.span in inner else None
    return "of a late night" if since is None or one.span.end > since else None


def is_at_work(span: Span, at_work: Iterable[Span]) -> bool:
    """Whether somebody works on the night.

    Its state is filed by its end; the state at its start is what it reads, and an inner night that
    ends there is what its tuning reads.
    """
    if span.start is not None and not span.inner:
        return span in at_work
    return any(
        span == other or span.end == other.start or (span.start is None and span.end == other.end)
        for other in at_work
    )


def _is_state(one: Found) -> bool:
    return one.dataset == STATE


def _last_inner(whole: Iterable[Found], count: int) -> frozenset[Span]:
    spans = {one.span for one in whole if one.span is not None and one.span.inner}
    last = sorted(spans, key=lambda span: (span.end, span.start or span.end))
    return frozenset(last[len(last) - min(count, len(last)) :])


def _last_adapters(whole: Iterable[Found], count: int) -> list[str]:
    """What the language model learnt last, however long ago: the next night reads it."""
    found = [
        (one.span.end, one.folder)
        for one in whole
        if one.dataset == ADAPTER and one.current and one.span is not None
    ]
    return [folder for _, folder in sorted(found)[len(found) - min(count, len(found)) :]]


def _made_from(roots: Iterable[Found], found: Mapping[str, Found]) -> Iterator[str]:
    for one in roots:
        for _, folder in one.inputs:
            if folder in found and found[folder].whole:
                yield folder


def _parents(roots: Iterable[Found], whole: Iterable[Found], now: Now) -> Iterator[str]:
    """The state that each kept night starts from: the one at its start, or the last before it."""
    states: dict[datetime, list[str]] = {}
    for one in whole:
        if _is_state(one) and one.current and one.span is not None:
            states.setdefault(one.span.end, []).append(one.folder)
    ends = sorted(states)
    spans = {one.span for one in roots if one.span is not None} | now.at_work
    for start in {span.start for span in spans if span.start is not None and not span.inner}:
        before = bisect_right(ends, start)
        if before:
            yield from states[ends[before - 1]]


def _live(whole: Iterable[Found], found: Mapping[str, Found], now: Now) -> Iterator[str]:
    """The states that were live last, and what was recommended with them: going back serves it."""
    yield from (folder for folder in now.live if folder in found and found[folder].whole)
    scored = [
        (behind, one)
        for one in whole
        if one.dataset == RECOMMENDATIONS
        for _, behind in one.inputs
        if behind in now.live
    ]
    # What a night stands for now; where that is of another state, what it stood for then.
    stands = {behind for behind, one in scored if one.current}
    yield from (one.folder for behind, one in scored if one.current or behind not in stands)


def _pooled(roots: Iterable[Found], found: Mapping[str, Found], nights: int) -> Iterator[str]:
    """Evaluations that are pooled with that of a kept night."""
    for one in roots:
        if one.dataset != EVALUATION:
            continue
        current: Found | None = one
        for _ in range(nights - 1):
            before = dict(current.inputs).get(PREVIOUS) if current is not None else None
            current = found.get(before) if before is not None else None
            if current is None or not current.whole:
                break
            yield current.folder
