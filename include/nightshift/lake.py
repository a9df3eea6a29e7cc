"""The lake: datasets and manifests over any fsspec filesystem.

    <root>/<dataset>/<partition>/<key16>/<file>-<sha12>.parquet
    <root>/<dataset>/<partition>/<key16>/_manifest.json      written last
    <root>/<dataset>/<partition>/_current.json               which key the partition stands for

Files are written to scratch first, hashed, and moved or uploaded under a name that carries their
hash, so two writers can never mix. Readers get local paths: the file itself in a `file://` lake,
a checksummed copy from a cache for anything else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem

from nightshift.errors import DatasetMissing, DiskFull, LakeError, SettingsError
from nightshift.manifest import FileEntry, InputRef, Manifest

if TYPE_CHECKING:
    import polars as pl

    from nightshift.settings import Settings

MANIFEST = "_manifest.json"
CURRENT = "_current.json"
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_CONFLICTS, _CONFLICT_SECONDS = 50, 0.1
_S3_DEFAULTS: dict[str, Any] = {
    # Another process writes what we wait for: a remembered listing would hide it from us.
    "use_listings_cache": False,
    # An endpoint that does not answer is an error within half a minute.
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 60,
        "retries": {"mode": "standard", "total_max_attempts": 4},
    },
}


@contextmanager
def lake_errors(action: str, root: str) -> Iterator[None]:
    """Turn what a filesystem raises into the lake's errors."""
    try:
        yield
    except LakeError:
        raise
    except FileNotFoundError as error:
        raise LakeError(
            f"The lake failed while {action}: {error}.",
            hint="is there such a bucket or folder? check the root URI (`nightshift doctor`)",
            lake=root,
        ) from error
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"No space left while {action}.",
                hint="free space where the lake lies (`nightshift doctor` shows it) and run again",
                lake=root,
            ) from error
        raise LakeError(
            f"The lake failed while {action}: {error}.",
            hint="check the root URI, the credentials and the network (`nightshift doctor`)",
            lake=root,
        ) from error
    except Exception as error:  # botocore raises outside OSError; the cause is kept and named
        if type(error).__module__.partition(".")[0] in {"botocore", "aiobotocore", "aiohttp"}:
            raise LakeError(
                f"The lake failed while {action}: {error}.",
                hint="check the root URI, the credentials and the network (`nightshift doctor`)",
                lake=root,
            ) from error
        raise


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


class Lake:
    """Datasets under one root URI."""

    def __init__(
        self, root: str, *, options: Mapping[str, Any] | None = None, scratch: Path
    ) -> None:
        if root.partition("://")[0] in {"s3", "s3a"}:
            options = _S3_DEFAULTS | dict(options or {})
        try:
            with lake_errors("opening it", root):
                self.fs, base = fsspec.core.url_to_fs(root, **dict(options or {}))
                if hasattr(self.fs, "connect"):
                    self.fs.connect()  # s3fs looks at its options only here
        except (ValueError, ImportError, TypeError) as error:
            raise SettingsError(
                f"lake.root {root!r} cannot be opened: {error}.",
                hint="such as file:///data/lake or s3://bucket/lake, options in lake.options",
            ) from error
        self.root = root.rstrip("/")
        self._base = str(base).rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)
        # Scratch of a local lake lies inside it: moving a finished file is then one rename.
        self.scratch = Path(self._base) / "_scratch" if self.is_local else scratch
        self.cache = scratch / "lake-cache"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The lake of these settings."""
        return cls(
            settings.lake_root,
            options=settings.lake.open_options,
            scratch=settings.home_path / "scratch",
        )

    def uri(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"

    # --- small objects ------------------------------------------------------------------------

    def read_bytes(self, path: str) -> bytes | None:
        """The object's bytes, or None when there is none."""
        with lake_errors(f"reading {path}", self.root):
            try:
                data: bytes = self.fs.cat_file(self._full(path))
            except FileNotFoundError:
                return None
            return data

    def write_bytes(self, path: str, data: bytes) -> None:
        """Create or replace an object, atomically."""
        with lake_errors(f"writing {path}", self.root):
            if not self.is_local:
                self.fs.pipe_file(self._full(path), data)
                return
            temporary = self._spool(data)
            target = Path(self._full(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)

    def create(self, path: str, data: bytes) -> bool:
        """Create an object only if there is none: the one primitive behind leases and logs.

        Returns False when somebody else was first. On S3 this is a conditional PUT
        (`If-None-Match: *`), on a local disk a hard link of a finished file.
        """
        with lake_errors(f"creating {path}", self.root):
            if not self.is_local:
                return self._create_remote(path, data)
            temporary = self._spool(data)
            target = Path(self._full(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            return True

    def _create_remote(self, path: str, data: bytes) -> bool:
        for _ in range(_CONFLICTS):
            try:
                self.fs.pipe_file(self._full(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                # s3fs hands on the service's own answer to a failed precondition.
                answer = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
                if answer == "PreconditionFailed":
                    return False
                if answer != "ConditionalRequestConflict":
                    raise
                time.sleep(_CONFLICT_SECONDS)  # another creates it now: what comes of that decides
            else:
                return True
        raise LakeError(f"Others kept creating {path} at the same time.", hint="run it again")

    def _spool(self, data: bytes) -> Path:
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"{uuid.uuid4().hex}.tmp"
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def delete(self, path: str) -> None:
        """Remove an object; one that is gone already is fine."""
        with lake_errors(f"deleting {path}", self.root):
            try:
                self.fs.rm_file(self._full(path))
            except FileNotFoundError:
                return

    def names(self, folder: str) -> list[str]:
        """Names directly below a folder, sorted; empty when there is no such folder."""
        with lake_errors(f"listing {folder}", self.root):
            self.fs.invalidate_cache(self._full(folder))
            try:
                found = self.fs.ls(self._full(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

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

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A folder that is gone afterwards, on the lake's own disk where that is possible."""
        with lake_errors("making scratch space", self.root):
            self.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _broken(entry: FileEntry, root: str) -> LakeError:
    return LakeError(
        f"The file {entry.name} is missing or does not match its checksum.",
        hint="delete the dataset's folder and run its stage again",
        file=entry.path,
        lake=root,
    )
