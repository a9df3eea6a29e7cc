"""The manifest: what makes a folder in the lake a dataset.

It is written last, so a dataset without one does not exist. `key` names what the dataset was
made from (stage, version, settings, input digests) and is also the folder's name; `digest` names
what came out. Two runs of the same night on the same versions, machine type and threads give the
same of both. Times and places (URIs, commit, seconds) are recorded outside both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from nightshift.errors import LakeError


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a dataset.

    `name` is how the dataset calls it (`events/2017-11.parquet`), `path` where it lies relative
    to the lake's root; a file that did not change since an earlier dataset is shared by path.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    rows: int | None = None
    schema: str | None = None
    """The Arrow schema as text, for Parquet."""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InputRef:
    """A dataset that this one was made from."""

    dataset: str
    partition: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything known about one dataset of one partition."""

    dataset: str
    partition: str
    key: str
    digest: str
    files: tuple[FileEntry, ...]
    inputs: dict[str, InputRef]
    settings_digest: str
    code_version: str
    stats: dict[str, Any]
    """Counts and figures that a report reads; part of the digest, so nothing that varies by run."""
    seeds: dict[str, int] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    """Seconds, host, commit, created_at: outside key and digest."""

    @property
    def folder(self) -> str:
        """The dataset's folder relative to the lake's root."""
        return f"{self.dataset}/{self.partition}/{self.key[:16]}"

    @property
    def rows(self) -> int:
        """Rows over all Parquet files."""
        return sum(entry.rows or 0 for entry in self.files)

    @property
    def ref(self) -> InputRef:
        return InputRef(self.dataset, self.partition, self.key, self.digest)

    def file(self, name: str) -> FileEntry:
        """The entry called `name`.

        Raises:
            LakeError: the dataset has no such file.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise LakeError(
            f"Dataset {self.dataset} has no file {name!r}.",
            hint="it may stem from another version of Nightshift; run its stage again",
            dataset=self.folder,
        )

    def named(self, prefix: str) -> list[FileEntry]:
        """Entries whose name starts with `prefix`, sorted by name."""
        return sorted((e for e in self.files if e.name.startswith(prefix)), key=lambda e: e.name)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True, default=str).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse and check that the digest belongs to the content.

        Raises:
            LakeError: not a manifest, or one that was altered.
        """
        try:
            raw = json.loads(data)
            raw["files"] = tuple(FileEntry(**entry) for entry in raw["files"])
            raw["inputs"] = {name: InputRef(**ref) for name, ref in raw["inputs"].items()}
            manifest = cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LakeError(
                f"A manifest cannot be read: {error}.", hint="delete the folder and run the stage"
            ) from error
        expected = content_digest(manifest.key, manifest.files, manifest.stats, manifest.seeds)
        if expected != manifest.digest:
            raise LakeError(
                "A manifest does not match its own digest: it was altered.",
                hint="delete the folder and run the stage again",
                dataset=manifest.folder,
            )
        return manifest


def content_digest(
    key: str, files: tuple[FileEntry, ...], stats: dict[str, Any], seeds: dict[str, int]
) -> str:
    """What came out: names and checksums of the files, counts, seeds, under the key."""
    listing = sorted((entry.name, entry.sha256, entry.rows) for entry in files)
    return digest_of([key, listing, stats, seeds])
