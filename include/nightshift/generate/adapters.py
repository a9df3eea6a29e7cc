"""Adapters of the language model as the lake has them: which prompts one knows, and its files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nightshift.generate.engines.adapter import ADAPTER_FILES, Adapter
from nightshift.lake import Lake
from nightshift.manifest import FileEntry, Manifest, digest_of
from nightshift.settings import Settings


@dataclass(frozen=True, slots=True)
class Taught:
    """An adapter, and what it was taught."""

    adapter: Adapter
    model: str
    """Digest of the language model that it belongs to."""
    templates: Mapping[str, str]
    """The prompts that it has learnt: a template's name and its digest."""


def taught(lake: Lake, settings: Settings, manifest: Manifest | None) -> Taught | None:
    """What a dataset `adapter` holds; None where there is none. Nothing is fetched yet."""
    if manifest is None:
        return None
    files = [manifest.file(name) for name in ADAPTER_FILES]
    digest = files_digest(entry.sha256 for entry in files)
    folder = settings.home_path / "adapters" / digest[:16]
    return Taught(
        Adapter(digest, lambda: _fetched(lake, files, folder)),
        model=manifest.stats["model_digest"],
        templates=manifest.stats["templates"],
    )


def files_digest(checksums: Iterable[str]) -> str:
    """An adapter's digest, from the SHA-256 of each of ADAPTER_FILES in that order."""
    return digest_of(list(checksums))


def _fetched(lake: Lake, files: list[FileEntry], folder: Path) -> Path:
    """The files under their own names in a local folder, which is there whole or not."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="adapter.", dir=folder.parent))
    try:
        for entry in files:
            shutil.copyfile(lake.local_path(entry), temporary / entry.name)
        try:
            os.replace(temporary, folder)
        except OSError:  # another process was faster: a folder with files is not replaced
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
