"""The sweep: what no mark protects is removed.

A dataset goes in this order: the pointer of its partition, its manifest, its files. A kill after
the first leaves a whole dataset that its stage finds by its key; a kill after the second leaves a
folder without a manifest, which is no dataset and which the next run removes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from nightshift.housekeeping.inventory import Found, pointed_at
from nightshift.housekeeping.keep import OURS, Kept, Now, is_at_work
from nightshift.housekeeping.work import nights_at_work
from nightshift.lake import CURRENT, MANIFEST, Lake
from nightshift.progress import Progress

log = logging.getLogger("nightshift.housekeeping")


@dataclass(frozen=True, slots=True)
class Goes:
    """A folder that goes (or only its stray objects), what that frees, and why."""

    found: Found
    bytes: int
    why: str
    strays_only: bool = False


def going(found: Mapping[str, Found], kept: Kept, now: Now, *, days: int) -> list[Goes]:
    """Everything that no mark protects, night by night."""
    gone = [
        goes for one in found.values() if (goes := _verdict(one, kept, now, days=days)) is not None
    ]
    return sorted(gone, key=lambda goes: (goes.found.night, goes.found.folder))


def _verdict(one: Found, kept: Kept, now: Now, *, days: int) -> Goes | None:
    if one.folder in kept.why:
        strays = sum(size for path, size in one.strays if path not in kept.files)
        if not strays or _is_touched(one, now):
            return None
        return Goes(one, strays, "files of a killed writer", strays_only=True)
    size = one.bytes - kept.bytes_in(one.folder)
    if one.whole:
        return Goes(one, size, _why(one, kept, days))
    if one.dataset not in OURS or size == 0 or _is_touched(one, now):
        return None
    return Goes(one, size, "no manifest")


def _is_touched(one: Found, now: Now) -> bool:
    return one.span is None or one.newest > now.oldest_touched or is_at_work(one.span, now.at_work)


def _why(one: Found, kept: Kept, days: int) -> str:
    assert one.span is not None
    if one.span.inner:
        return "inner night of an early tuning"
    if kept.since is not None and one.span.end <= kept.since:
        return f"older than {days} days"
    return "superseded"


def sweep(
    lake: Lake, gone: Sequence[Goes], kept: Kept, *, grace_seconds: float, now: float | None = None
) -> Iterator[Goes]:
    """Remove what goes; yields each when it is gone.

    All manifests go before the first file: one that goes may share a file of another. Before each
    night the leases are looked at again, for somebody may have begun to work there.
    """

    def at_work(night: list[Goes]) -> bool:
        moment = time.time() if now is None else now
        spans = nights_at_work(lake, now=moment, grace_seconds=grace_seconds)
        return any(one.found.span and is_at_work(one.found.span, spans) for one in night)

    nights = [list(group) for _, group in groupby(gone, key=lambda goes: goes.found.night)]
    left = []
    for night in nights:
        if at_work(night):
            log.info("%s is left for now: it is worked on", night[0].found.night)
            for goes in night:
                kept.share(goes.found)
            continue
        for goes in night:
            _unmake(lake, goes)
        left.append(night)
    with Progress("housekeeping", total=sum(map(len, left)), unit="folders") as progress:
        for night in left:
            if at_work(night):
                continue  # without manifests they are no datasets; the next run goes on
            for goes in night:
                _remove_files(lake, goes, kept)
                progress.add()
                yield goes
            for dataset in sorted({goes.found.dataset for goes in night}):
                lake.remove_empty_folders(f"{dataset}/{night[0].found.night}")


def _unmake(lake: Lake, goes: Goes) -> None:
    """From now on the folder is no dataset."""
    one = goes.found
    if goes.strays_only:
        return
    partition, _, key = one.folder.rpartition("/")
    if one.current and pointed_at(lake, partition) == key:
        lake.delete(f"{partition}/{CURRENT}")
    if one.whole:
        lake.delete(f"{one.folder}/{MANIFEST}")


def _remove_files(lake: Lake, goes: Goes, kept: Kept) -> None:
    one = goes.found
    if goes.strays_only:
        paths = [path for path, _ in one.strays]
    else:
        paths = [stored.path for stored in lake.stored(one.folder)]
        if f"{one.folder}/{MANIFEST}" in paths:
            return  # somebody has made it anew
    for path in paths:
        if path not in kept.files:
            lake.delete(path)
