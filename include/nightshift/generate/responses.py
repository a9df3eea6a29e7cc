"""What language models answered, kept in the lake: the same question is never paid for twice.

    responses/<identity16>/<folder[:2]>/<folder>/<sha16>.parquet      SCHEMA, one row a question
    responses/<identity16>/<folder[:2]>/<folder>/3/f/<sha16>.parquet  those whose keys begin with 3f

A folder holds what was asked in one way (sampling, seed, prefix), so finding answers costs one
listing and the segments that this process has not read yet. A call adds one segment, under a name
made of its content; when there are many, they are merged into one. Where that would be large, they
are dealt out to folders by the next digit of their keys instead, which grow the same way: a
question reads, and an answer rewrites, its own branch alone, however old the lake is. A reader that
meets the merging finds an answer twice or, at worst, not at all, and asks again: never a wrong one.
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
_SPLIT_ROWS = 8192
"""Of a merged segment; more go into the folders below. About a megabyte of texts."""
_FOLDERS_KEPT = 32
"""Folders whose answers stay in memory: chunks follow each other with a folder each, or ask the
same ones again, a first digit each."""


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
    below: frozenset[str] = frozenset()
    """Digits that have a folder of their own."""


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
        found: dict[bytes, Answer] = {}
        self._search(folder, set(keys), found)
        return found

    def _search(self, folder: str, keys: set[bytes], found: dict[bytes, Answer]) -> None:
        known = self._refreshed(folder)
        wanted = pa.array(sorted(keys), SCHEMA.field("key").type)
        for table in known.segments.values():
            for row in table.filter(pc.is_in(table["key"], value_set=wanted)).to_pylist():
                key = row.pop("key")
                found[key] = Answer(**{**row, "texts": tuple(row["texts"] or ())})
        for digit, own in _by_digit(sorted(keys - found.keys()), folder).items():
            if digit in known.below:
                self._search(f"{folder}/{digit}", set(own), found)
        self._keep(folder, known)

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
        known = self._known.get(folder) or _Folder()
        names = self._lake.names(self._path(folder))
        tables: dict[str, pa.Table] = {}
        for name in filter(_is_segment, names):
            table = known.segments.get(name)
            if table is None:
                table = self._read(self._path(folder, name))
            if table is not None:
                tables[name] = table
        known.segments = tables
        known.below = frozenset(name for name in names if not _is_segment(name))
        self._keep(folder, known)
        return known

    def _keep(self, folder: str, known: _Folder) -> None:
        """In memory, as the one that was used last."""
        self._known[folder] = known
        self._known.move_to_end(folder)
        while len(self._known) > _FOLDERS_KEPT:
            self._known.popitem(last=False)

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
        """One segment in place of many, or one more in each folder below: what is new is there
        before anything old goes."""
        whole = pa.concat_tables(known.segments.values())
        first = {key: row for row, key in reversed(list(enumerate(whole["key"].to_pylist())))}
        merged: dict[str, pa.Table] = {}
        if len(first) <= _SPLIT_ROWS:
            table = whole.take(sorted(first.values()))
            merged[self._write(folder, table)] = table
        else:
            for digit, own in _by_digit(sorted(first), folder).items():
                self._grow(f"{folder}/{digit}", whole.take([first[key] for key in own]))
        for old in known.segments:
            if old not in merged:
                self._lake.delete(self._path(folder, old))
        known.segments = merged

    def _grow(self, folder: str, table: pa.Table) -> None:
        """A segment more in a folder below; its own are read only to merge them."""
        self._write(folder, table)
        if len(list(filter(_is_segment, self._lake.names(self._path(folder))))) >= _MERGE_AT:
            self._merge(folder, self._refreshed(folder))


def _by_digit(keys: Sequence[bytes], folder: str) -> dict[str, list[bytes]]:
    """Keys by the digit that says in which folder below this one they are."""
    place = folder.count("/")
    found: dict[str, list[bytes]] = {}
    for key in keys:
        found.setdefault(key.hex()[place], []).append(key)
    return found


def _is_segment(name: str) -> bool:
    return name.endswith(".parquet")


def _named_after(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:16]}.parquet"
