"""The lake: datasets and manifests over any fsspec filesystem.

    <root>/<dataset>/<partition>/<key16>/<file>-<sha12>.parquet
    <root>/<dataset>/<partition>/<key16>/_manifest.json      written last
    <root>/<dataset>/<partition>/_current.json               which key the partition stands for

Files are written to scratch first, hashed, and moved or uploaded under a name that carries their
hash, so two writers can never mix. Readers get local paths: the file itself in a `file://` lake,
a checksummed copy from a cache for anything else.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nightshift.errors import DatasetMissing, LakeError
from nightshift.lake.objects import Objects, lake_errors
from nightshift.manifest import FileEntry, InputRef, Manifest

if TYPE_CHECKING:
    import polars as pl

    from nightshift.settings import Settings

MANIFEST = "_manifest.json"
CURRENT = "_current.json"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_sound: set[tuple[str, int, int]] = set()
"""Files whose bytes this process has checked: checksum, inode, time of the last change."""


def _is_sound(path: Path, entry: FileEntry) -> bool:
    """Whether a local file is what its entry says; its bytes are read once per process."""
    if not path.is_file():
        return False
    found = path.stat()
    if found.st_size != entry.bytes:
        return False
    mark = (entry.sha256, found.st_ino, found.st_mtime_ns)
    if mark not in _sound and sha256_of(path) == entry.sha256:
        _sound.add(mark)
    return mark in _sound


class Lake(Objects):
    """Datasets under one root URI."""

    def __init__(
        self, root: str, *, options: Mapping[str, Any] | None = None, scratch: Path
    ) -> None:
        super().__init__(root, options=options, scratch=scratch)
        self.cache = scratch / "lake-cache"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The lake of these settings."""
        return cls(
            settings.lake_root,
            options=settings.lake.open_options,
            scratch=settings.home_path / "scratch",
        )

    # --- datasets -----------------------------------------------------------------------------

    def at_key(self, dataset: str, partition: str, key: str) -> Manifest | None:
        """The dataset made from exactly this key, if it exists."""
        data = self.read_bytes(f"{dataset}/{partition}/{key[:16]}/{MANIFEST}")
        if data is None:
            return None
        manifest = Manifest.from_json(data)
        return manifest if manifest.key == key else None

    def find(self, dataset: str, partition: str) -> Manifest | None:
        """What the partition stands for now, or None."""
        pointer = self.read_bytes(f"{dataset}/{partition}/{CURRENT}")
        if pointer is None:
            return None
        try:
            key = str(json.loads(pointer)["key"])
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"The pointer {CURRENT} cannot be read.",
                hint="delete it and run the stage again: what is done is found, not done again",
                dataset=f"{dataset}/{partition}",
                lake=self.root,
            ) from error
        return self.at_key(dataset, partition, key)

    def get(self, dataset: str, partition: str) -> Manifest:
        """Like `find`.

        Raises:
            DatasetMissing: nothing was made for this partition.
        """
        manifest = self.find(dataset, partition)
        if manifest is None:
            raise DatasetMissing(
                f"There is no dataset {dataset!r} for {partition}.",
                hint="run the stage that makes it first (`nightshift status` shows what is done)",
                lake=self.root,
            )
        return manifest

    def get_ref(self, ref: InputRef) -> Manifest:
        """The dataset that another one was made from.

        Raises:
            DatasetMissing: it was deleted.
        """
        manifest = self.at_key(ref.dataset, ref.partition, ref.key)
        if manifest is None:
            raise DatasetMissing(
                f"The dataset {ref.dataset}/{ref.partition} that a state was made from is gone.",
                hint="restore it, or start anew with --first",
                lake=self.root,
            )
        return manifest

    def versions(self, dataset: str, partition: str) -> list[Manifest]:
        """Every dataset of a partition, also those that it no longer stands for."""
        keys = (name for name in self.names(f"{dataset}/{partition}") if not name.startswith("_"))
        found = (self.read_bytes(f"{dataset}/{partition}/{key}/{MANIFEST}") for key in keys)
        return [Manifest.from_json(data) for data in found if data is not None]

    def partitions(self, dataset: str) -> list[str]:
        """Partitions of one level (`night=…`) that stand for something, sorted."""
        found = (n for n in self.names(dataset) if not n.startswith("_"))
        return [n for n in found if self.read_bytes(f"{dataset}/{n}/{CURRENT}") is not None]

    def point(self, manifest: Manifest) -> None:
        """Let the partition stand for this dataset."""
        pointer = json.dumps({"key": manifest.key, "digest": manifest.digest}).encode()
        path = f"{manifest.dataset}/{manifest.partition}/{CURRENT}"
        if self.read_bytes(path) != pointer:
            self.write_bytes(path, pointer)

    def commit(self, manifest: Manifest) -> Manifest:
        """Write the manifest: from now on the dataset exists."""
        self.write_bytes(f"{manifest.folder}/{MANIFEST}", manifest.to_json())
        self.point(manifest)
        return manifest

    # --- files --------------------------------------------------------------------------------

    def put_file(self, source: Path, folder: str, name: str) -> FileEntry:
        """Move a finished scratch file into the lake under a name that carries its hash."""
        digest = sha256_of(source)
        stem, dot, suffix = name.rpartition(".")
        path = f"{folder}/{stem}-{digest[:12]}{dot}{suffix}"
        size = source.stat().st_size
        with lake_errors(f"writing {name}", self.root):
            if self.is_local:
                target = Path(self._full(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
                moved = target.stat()
                _sound.add((digest, moved.st_ino, moved.st_mtime_ns))
            else:
                self.fs.put_file(str(source), self._full(path))
                source.unlink()
        return FileEntry(name=name, path=path, bytes=size, sha256=digest)

    def local_path(self, entry: FileEntry) -> Path:
        """A local file with the entry's content.

        Raises:
            LakeError: the file is gone, or its bytes do not match the manifest.
        """
        if self.is_local:
            path = Path(self._full(entry.path))
            with lake_errors(f"reading {entry.name}", self.root):
                if not _is_sound(path, entry):
                    raise _broken(entry, self.root)
            return path
        path = self.cache / entry.sha256[:2] / f"{entry.sha256}{Path(entry.name).suffix}"
        with lake_errors(f"reading {entry.name}", self.root):
            if not _is_sound(path, entry):
                self._fetch(entry, path)
        return path

    def _fetch(self, entry: FileEntry, path: Path) -> None:
        """Copy a remote file into the cache; only a sound copy ever stands there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            self.fs.get_file(self._full(entry.path), str(temporary))
            if not _is_sound(temporary, entry):
                raise _broken(entry, self.root)
            os.replace(temporary, path)
        except FileNotFoundError as error:
            raise _broken(entry, self.root) from error
        finally:
            temporary.unlink(missing_ok=True)

    def verify(self, manifest: Manifest) -> list[str]:
        """Names of files whose bytes do not match their checksum (reads everything)."""
        broken = []
        for entry in manifest.files:
            try:
                if sha256_of(self.local_path(entry)) != entry.sha256:
                    broken.append(entry.name)
            except LakeError:
                broken.append(entry.name)
        return broken

    def scan(self, manifest: Manifest, prefix: str) -> pl.LazyFrame:
        """All Parquet files whose name starts with `prefix`, lazily, in order of name."""
        import polars as pl

        paths = [self.local_path(entry) for entry in manifest.named(prefix)]
        if not paths:
            manifest.file(prefix)  # raises with the name
        return pl.scan_parquet(paths, glob=False)

    def read(self, manifest: Manifest, name: str) -> pl.DataFrame:
        """One Parquet file."""
        import polars as pl

        return pl.read_parquet(self.local_path(manifest.file(name)), glob=False)

    def read_json(self, manifest: Manifest, name: str) -> Any:
        return json.loads(self.local_path(manifest.file(name)).read_bytes())


def _broken(entry: FileEntry, root: str) -> LakeError:
    return LakeError(
        f"The file {entry.name} is missing or does not match its checksum.",
        hint="delete the dataset's folder and run its stage again",
        file=entry.path,
        lake=root,
    )
