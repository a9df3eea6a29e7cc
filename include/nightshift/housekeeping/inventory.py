"""What lies in the lake: datasets, and folders that no manifest made into one.

One listing for each night of each kind of dataset, and each manifest is read once. What stays in
memory is a few lines per dataset, whatever it holds.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nightshift.errors import LakeError, UsageError
from nightshift.lake import CURRENT, MANIFEST, Lake, Stored
from nightshift.manifest import Manifest
from nightshift.night import INNER, Night, parse_time

log = logging.getLogger("nightshift.housekeeping")

NO_DATASETS = frozenset({"registry", "leases", "chunks", "responses", "embeddings", "models"})
"""Folders of the lake's root that hold something else, as do those that begin with `_`."""
_NIGHT, _AS_OF = "night=", "as_of="


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a partition is about. A state has no start: it is filed by its end."""

    start: datetime | None
    end: datetime
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One folder `dataset/partition/key`."""

    folder: str
    span: Span | None
    """None: the partition is no night, so retention has no say."""
    whole: bool
    """There is a manifest, so it is a dataset."""
    current: bool
    """Its partition stands for it, or stands for nothing (killed just before it would have)."""
    bytes: int
    newest: float
    """When the last of its objects was written; seconds since 1970."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Names and folders of the datasets it was made from."""
    shared: tuple[tuple[str, int], ...] = ()
    """Paths and sizes of its files that lie in other datasets' folders."""
    strays: tuple[tuple[str, int], ...] = ()
    """Paths and sizes of objects in its folder that are no files of it."""
    broken: bool = False
    """Its manifest cannot be read: nobody knows what it needs."""

    @property
    def dataset(self) -> str:
        return self.folder.partition("/")[0]

    @property
    def partition(self) -> str:
        return self.folder.partition("/")[2].rpartition("/")[0]

    @property
    def night(self) -> str:
        """The first level of the partition, such as `night=2017-11-20`."""
        return self.partition.partition("/")[0]


def inventory(lake: Lake) -> Iterator[Found]:
    """Every folder of every kind of dataset, also of kinds that no stage of this version makes."""
    for dataset in lake.names(""):
        if dataset not in NO_DATASETS and not dataset.startswith("_"):
            for night in lake.names(dataset):
                yield from _of_night(lake, dataset, night)


def span_of(night: str) -> Span | None:
    """The time that a partition's first level names; None when it names none."""
    try:
        if night.startswith(_AS_OF):
            return Span(None, parse_time(night.removeprefix(_AS_OF)))
        if night.startswith(_NIGHT):
            key = night.removeprefix(_NIGHT)
            parsed = Night.parse(key.removesuffix(INNER))
            return Span(parsed.start, parsed.end, key.endswith(INNER))
    except UsageError:
        return None
    return None


def folder_of(path: str) -> str | None:
    """The dataset's folder that an object lies in; None for a pointer and what is beside the keys.

    >>> folder_of("shard/night=2017-11-20/shard=negatives-000/0123456789abcdef/samples-ab.parquet")
    'shard/night=2017-11-20/shard=negatives-000/0123456789abcdef'
    """
    parts = path.split("/")
    key = next((i for i, part in enumerate(parts) if i and "=" not in part), len(parts))
    return "/".join(parts[: key + 1]) if key < len(parts) - 1 else None


def _of_night(lake: Lake, dataset: str, night: str) -> Iterator[Found]:
    folders: dict[str, list[Stored]] = {}
    pointers: set[str] = set()
    for one in lake.stored(f"{dataset}/{night}"):
        folder = folder_of(one.path)
        if folder is not None:
            folders.setdefault(folder, []).append(one)
        elif one.path.endswith(f"/{CURRENT}"):
            pointers.add(one.path.removesuffix(f"/{CURRENT}"))
    stands_for = {partition: pointed_at(lake, partition) for partition in sorted(pointers)}
    span = span_of(night)
    for folder, objects in folders.items():
        key = stands_for.get(folder.rpartition("/")[0])
        current = key is None or folder.endswith(f"/{key}")
        yield _found(lake, folder, objects, span, current=current)


def pointed_at(lake: Lake, partition: str) -> str | None:
    """The key, as in a folder's name, that a partition stands for, where that can be told."""
    data = lake.read_bytes(f"{partition}/{CURRENT}")
    try:
        return None if data is None else str(json.loads(data)["key"])[:16]
    except (ValueError, TypeError, KeyError):
        log.warning("%s/%s cannot be read: the whole partition is kept", partition, CURRENT)
        return None


def _found(
    lake: Lake, folder: str, objects: list[Stored], span: Span | None, *, current: bool
) -> Found:
    size, newest = sum(one.bytes for one in objects), max(one.modified for one in objects)
    data = None
    if any(one.path == f"{folder}/{MANIFEST}" for one in objects):
        data = lake.read_bytes(f"{folder}/{MANIFEST}")
    if data is None:
        return Found(folder, span, False, current, size, newest)
    try:
        manifest = Manifest.from_json(data)
    except LakeError as error:
        log.warning("%s is kept as it is: %s", folder, error.message)
        return Found(folder, span, True, current, size, newest, broken=True)
    own = {entry.path for entry in manifest.files} | {f"{folder}/{MANIFEST}"}
    return Found(
        folder,
        span,
        True,
        current,
        size,
        newest,
        inputs=tuple(
            (sys.intern(name), sys.intern(f"{ref.dataset}/{ref.partition}/{ref.key[:16]}"))
            for name, ref in manifest.inputs.items()
        ),
        shared=tuple(
            (sys.intern(entry.path), entry.bytes)
            for entry in manifest.files
            if not entry.path.startswith(f"{folder}/")
        ),
        strays=tuple((one.path, one.bytes) for one in objects if one.path not in own),
    )
