"""Objects of the lake: bytes under names, on any fsspec filesystem.

Replacing an object is atomic, and creating one tells who was first: leases, the verdict log and
the alias stand on that.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from nightshift.errors import DiskFull, LakeError, SettingsError

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

_TIMES = ("mtime", "LastModified", "last_modified", "updated")
"""How filesystems call the time of an object's last change."""


_NOT_TO_REMOVE = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR}
"""A folder that holds something, one that is gone already, a link to one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its path relative to the lake's root, its size, seconds since 1970."""

    path: str
    bytes: int
    modified: float


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


class Objects:
    """Bytes under names, below one root URI of any fsspec filesystem."""

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

    def uri(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"

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

    def stored(self, folder: str) -> list[Stored]:
        """Every object below a folder, at any depth, by one listing; sorted by path.

        What vanishes meanwhile is left out. What cannot be listed is an error, never left out:
        housekeeping would take it for gone.
        """
        full = self._full(folder)
        with lake_errors(f"listing {folder}", self.root):
            if self.is_local:
                found = list(_files_below(full))
            else:
                self.fs.invalidate_cache(full)
                try:
                    infos = self.fs.find(full, detail=True)
                except FileNotFoundError:
                    return []
                found = [(str(p), int(i["size"] or 0), _modified(i)) for p, i in infos.items()]
        below = len(self._base) + 1
        return [Stored(path[below:], size, when) for path, size, when in sorted(found)]

    def remove_empty_folders(self, folder: str) -> None:
        """Remove a folder's empty folders and, if nothing is left, itself; S3 has none."""
        if not self.is_local:
            return
        with lake_errors(f"removing empty folders in {folder}", self.root):
            for here, _, _ in os.walk(self._full(folder), topdown=False):
                try:
                    Path(here).rmdir()
                except OSError as error:
                    if error.errno not in _NOT_TO_REMOVE:
                        raise

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


def _files_below(folder: str) -> Iterator[tuple[str, int, float]]:
    """Path, size and time of every file below a local folder."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for here, _, names in os.walk(folder, onerror=failed, followlinks=True):
        for name in names:
            path = f"{here}/{name}"
            try:
                fact = Path(path).stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            yield path, fact.st_size, fact.st_mtime


def _modified(info: Mapping[str, Any]) -> float:
    """When the object was last changed; now, where the filesystem does not say."""
    moment = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return moment.timestamp()
    return time.time() if moment is None else float(moment)
