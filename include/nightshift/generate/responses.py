"""What language models answered, kept in the lake: the same question is never paid for twice.

    responses/<identity16>/<folder[:2]>/<folder>/<sha16>.parquet      SCHEMA, one row a question

A folder holds what was asked in one way (sampling, seed, prefix), so finding answers costs one
listing and the segments that this process has not read yet. A call adds one segment, under a name
made of its content; when there are many, they are merged into one. A reader that meets the merging
finds an answer twice or, at worst, not at all, and asks again: never a wrong one.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.errors import LakeError
from nightshift.lake import Lake

KEY_BYTES = 16
SCHEMA = pa.schema(
    [
        ("key", pa.binary(KEY_BYTES)),
        ("texts", pa.list_(pa.string())),
        ("tokens", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("score", pa.float64()),
    ]
)
ROOT = "responses"
_MERGE_AT = 64
"""Segments of a folder; what a new process pays for it at most is a listing and these reads."""
_FOLDERS_KEPT = 8
"""Folders whose answers stay in memory; chunks follow each other with a folder each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question: texts with their tokens, or a score."""

    texts: tuple[str, ...] = ()
    tokens: int = 0
    prompt_tokens: int = 0
    score: float | None = None


@dataclass(slots=True)
class _Folder:
    """What this process knows of a folder."""

    segments: dict[str, pa.Table] = field(default_factory=dict)


class Responses:
    """The answers of one engine.

    Args:
        identity: digest of all that answers depend on besides the call.
    """

    def __init__(self, lake: Lake, identity: str) -> None:
        self._lake = lake
        self._base = f"{ROOT}/{identity[:16]}"
        self._known: OrderedDict[str, _Folder] = OrderedDict()

    def find(self, folder: str, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """The answers that there are.

        Raises:
            LakeError: a segment cannot be read.
        """
        known = self._refreshed(folder)
        if not known.segments:
            return {}
        wanted = pa.array(sorted(set(keys)), SCHEMA.field("key").type)
        found: dict[bytes, Answer] = {}
        for table in known.segments.values():
            for row in table.filter(pc.is_in(table["key"], value_set=wanted)).to_pylist():
                key = row.pop("key")
                found[key] = Answer(**{**row, "texts": tuple(row["texts"] or ())})
        return found

    def add(self, folder: str, rows: Mapping[bytes, Answer]) -> None:
        """Keep answers; whole or not at all."""
        columns = {
            "key": list(rows),
            **{
                name: [getattr(answer, name) for answer in rows.values()]
                for name in SCHEMA.names[1:]
            },
        }
        table = pa.table(columns, schema=SCHEMA)
        known = self._known.setdefault(folder, _Folder())
        known.segments[self._write(folder, table)] = table
        if len(known.segments) >= _MERGE_AT:
            self._merge(folder, known)

    def _path(self, folder: str, name: str = "") -> str:
        return f"{self._base}/{folder[:2]}/{folder}/{name}".rstrip("/")

    def _refreshed(self, folder: str) -> _Folder:
        """The folder with what other processes have added since, and without what they merged."""
        known = self._known.setdefault(folder, _Folder())
        self._known.move_to_end(folder)
        while len(self._known) > _FOLDERS_KEPT:
            self._known.popitem(last=False)
        names = self._lake.names(self._path(folder))
        tables: dict[str, pa.Table] = {}
        for name in names:
            table = known.segments.get(name)
            if table is None:
                table = self._read(self._path(folder, name))
            if table is not None:
                tables[name] = table
        known.segments = tables
        return known

    def _read(self, path: str) -> pa.Table | None:
        data = self._lake.read_bytes(path)
        if data is None:
            return None  # merged since it was listed
        try:
            if not path.endswith(_named_after(data)):
                raise ValueError("its content is not what its name says")
            table = pq.read_table(io.BytesIO(data)).cast(SCHEMA)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise LakeError(
                f"Answers of a language model cannot be read: {error}.",
                hint="delete the file and run the shard again: what it held is asked anew",
                file=path,
            ) from error
        return table

    def _write(self, folder: str, table: pa.Table) -> str:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue().to_pybytes()
        name = _named_after(data)
        self._lake.write_bytes(self._path(folder, name), data)
        return name

    def _merge(self, folder: str, known: _Folder) -> None:
        """One segment in place of many: the new one is there before an old one goes."""
        whole = pa.concat_tables(known.segments.values())
        first = {key: row for row, key in reversed(list(enumerate(whole["key"].to_pylist())))}
        whole = whole.take(sorted(first.values()))
        name = self._write(folder, whole)
        for old in known.segments:
            if old != name:
                self._lake.delete(self._path(folder, old))
        known.segments = {name: whole}


def _named_after(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:16]}.parquet"
