"""Files of earlier snapshots that hold exactly what tonight's would: shared, not copied again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightshift.errors import LakeError

if TYPE_CHECKING:
    from nightshift.lake import Lake
    from nightshift.manifest import FileEntry

LOOK_BACK = 3
"""Snapshots that are looked at: the last ones hold all but the newest days."""


def find(lake: Lake, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, FileEntry]:
    """Entries of earlier snapshots by name, whose meta has all that `wanted` says of that name."""
    found: dict[str, FileEntry] = {}
    nights = [name for name in lake.names("snapshot") if name.startswith("night=")]
    for night in reversed(nights[-LOOK_BACK:]):
        snapshot = lake.find("snapshot", night)
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


def _there(lake: Lake, entry: FileEntry) -> bool:
    try:
        return lake.local_path(entry).is_file()
    except LakeError:
        return False  # removed or damaged since: copied again
