"""Writing one dataset: files first, manifest last."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.errors import StageFailed
from nightshift.lake import Lake, lake_errors
from nightshift.manifest import FileEntry

if TYPE_CHECKING:
    import polars as pl

PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "write_statistics": True}


class DatasetWriter:
    """Collects the files of one dataset; `nightshift.stages` commits them.

    `scratch` is a folder for anything of the stage's own; it is removed at the end.
    """

    def __init__(self, lake: Lake, folder: str, scratch: Path) -> None:
        self.lake, self.folder, self.scratch = lake, folder, scratch
        self.entries: dict[str, FileEntry] = {}

    def _add(self, entry: FileEntry) -> FileEntry:
        if entry.name in self.entries:
            raise StageFailed(f"A stage wrote the file {entry.name!r} twice.", dataset=self.folder)
        self.entries[entry.name] = entry
        return entry

    def _spool(self, name: str) -> Path:
        return self.scratch / f"{uuid.uuid4().hex}{Path(name).suffix}"

    def add_file(self, source: Path, name: str) -> FileEntry:
        """Take over a finished file (it is moved away)."""
        return self._add(self.lake.put_file(source, self.folder, name))

    def reuse(self, entry: FileEntry) -> FileEntry:
        """Share a file of an earlier dataset; nothing is copied."""
        return self._add(entry)

    def write_bytes(self, name: str, data: bytes) -> FileEntry:
        path = self._spool(name)
        with lake_errors(f"writing {name}", self.lake.root):
            path.write_bytes(data)
        return self.add_file(path, name)

    def write_json(self, name: str, value: Any) -> FileEntry:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return self.write_bytes(name, text.encode())

    def write_parquet(
        self, name: str, table: pa.Table | pl.DataFrame, *, meta: Mapping[str, Any] | None = None
    ) -> FileEntry:
        """A table as one Parquet file; the entry carries row count and Arrow schema."""
        if not isinstance(table, pa.Table):
            table = table.to_arrow(compat_level=None)
        with self.parquet_stream(name, table.schema, meta=meta) as stream:
            stream.write_table(table)
        return self.entries[name]

    @contextmanager
    def parquet_stream(
        self, name: str, schema: pa.Schema, *, meta: Mapping[str, Any] | None = None
    ) -> Iterator[pq.ParquetWriter]:
        """A Parquet file written in batches, memory flat in the number of rows."""
        path = self._spool(name)
        with lake_errors(f"writing {name}", self.lake.root):
            writer = pq.ParquetWriter(path, schema, **PARQUET_OPTIONS)
            try:
                yield writer
            finally:
                writer.close()
        rows = pq.read_metadata(path).num_rows
        stored = self.lake.put_file(path, self.folder, name)
        self._add(
            FileEntry(
                name=name,
                path=stored.path,
                bytes=stored.bytes,
                sha256=stored.sha256,
                rows=rows,
                schema=schema.remove_metadata().to_string(),
                meta=dict(meta or {}),
            )
        )

    def write_tensors(
        self, name: str, tensors: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
    ) -> FileEntry:
        """Arrays as one safetensors file."""
        path = self._spool(name)
        with lake_errors(f"writing {name}", self.lake.root):
            save_tensors(path, tensors, metadata)
        return self.add_file(path, name)


def save_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Arrays as one safetensors file.

    Raises:
        OSError: the disk is full, say.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata)
    except SafetensorError as error:  # a full disk: the number is in its text alone
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), str(error)) from error
