"""Files of earlier snapshots that hold exactly what tonight's would: shared, not copied again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nightshift.errors import LakeError
from nightshift.night import INNER, Night
from nightshift.stages import night_partition

if TYPE_CHECKING:
    from nightshift.lake import Lake
    from nightshift.manifest import FileEntry


LOOK_BACK = 3
"""Snapshots that are looked at: those of the nearest nights hold all but a few days."""


def find(lake: Lake, night: Night, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, FileEntry]:
    """Entries of snapshots of near nights by name, whose meta has all that `wanted` says of it."""
    found: dict[str, FileEntry] = {}
    for near in _nearest(lake, night):
        snapshot = lake.find("snapshot", night_partition(near))
        if snapshot is None:
            continue
        for entry in snapshot.named("events/"):
            marks = wanted.get(entry.name)
            if marks is None or entry.name in found:
                continue
            if all(entry.meta.get(mark) == value for mark, value in marks.items()) and _there(
                lake, entry
            ):
                found[entry.name] = entry
    return found


def _nearest(lake: Lake, night: Night) -> list[Night]:
    """Nights of the same kind with a snapshot, nearest first.

    The inner nights of tuning withhold items of their own: they share with each other alone.
    """
    keys = [n.removeprefix("night=") for n in lake.names("snapshot") if n.startswith("night=")]
    same = [
        replace(Night.parse(key.removesuffix(INNER)), inner=night.inner)
        for key in keys
        if key.endswith(INNER) == night.inner
    ]
    return sorted(same, key=lambda other: abs(other.end - night.end))[:LOOK_BACK]


def _there(lake: Lake, entry: FileEntry) -> bool:
    try:
        return lake.local_path(entry).is_file()
    except LakeError:
        return False  # removed or damaged since: copied again
