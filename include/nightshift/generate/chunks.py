"""Cutting targets into chunks and shards, and keeping finished chunks in the lake.

    chunks/<key[:2]>/<key>.parquet       contracts.SAMPLES, night and shard null; counts in its meta

A chunk's key is made of all that its samples depend on and of nothing else, so a killed shard
goes on at its next chunk, and the same chunk of another night is not paid for again.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift import contracts
from nightshift.errors import LakeError
from nightshift.generate.hashing import combine, stable_hash
from nightshift.generate.strategies.base import Chunk, Strategy
from nightshift.lake import Lake
from nightshift.manifest import digest_of

_META = b"nightshift.chunk"
_BITS = 64
_SALT = 1
"""Another hash than the ranking's: the best ranked must spread over all chunks."""


@dataclass(frozen=True, slots=True)
class _Counts:
    """What is kept beside the samples; an older chunk has fewer of them."""

    dropped: dict[str, int]
    tokens: int
    prompt_tokens: int = 0
    cached: int = 0
    seconds: float = 0.0
    refused: str | None = None
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)


def chunk_numbers(targets: pl.DataFrame, size: int) -> npt.NDArray[np.int64]:
    """The chunk of every target: [targets].

    Chunks are equal ranges of a hash, their number a power of two, so that a target that comes or
    goes changes its own chunk only. They hold `size` targets at most on average.
    """
    bits = int(np.ceil(np.log2(max(targets.height / size, 1))))
    if bits == 0:
        return np.zeros(targets.height, dtype=np.int64)
    hashes = combine(
        stable_hash(targets["item_id"].fill_null("").to_list(), _SALT),
        stable_hash(targets["user_key"].fill_null("").to_list(), _SALT),
    )
    return (hashes >> np.uint64(_BITS - bits)).astype(np.int64)


def chunk_key(strategy: Strategy, targets: pl.DataFrame) -> str:
    """What the chunk's samples depend on."""
    return digest_of(
        {
            "strategy": strategy.name,
            "version": strategy.version,
            "settings": strategy.own_settings,
            "seed": strategy.seed,
            "reads": strategy.reads(targets),
        }
    )


def chunk_path(key: str) -> str:
    return f"chunks/{key[:2]}/{key}.parquet"


def load_chunk(lake: Lake, key: str) -> Chunk | None:
    """The finished chunk, if any run ever made it.

    Raises:
        LakeError: there is one, but it cannot be read.
    """
    data = lake.read_bytes(chunk_path(key))
    if data is None:
        return None
    try:
        table = pq.read_table(io.BytesIO(data))
        counts = _Counts(**json.loads(table.schema.metadata[_META]))
        samples = table.replace_schema_metadata(None).cast(contracts.SAMPLES)
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise LakeError(
            f"A chunk of samples cannot be read: {error}.",
            hint="delete the file and run the shard again: it is made anew",
            file=chunk_path(key),
        ) from error
    return Chunk(samples, **asdict(counts))


def store_chunk(lake: Lake, key: str, chunk: Chunk) -> None:
    """Keep a finished chunk; whole or not at all."""
    counts = {each.name: getattr(chunk, each.name) for each in fields(_Counts)}
    meta = json.dumps(counts, sort_keys=True, ensure_ascii=False)
    buffer = pa.BufferOutputStream()
    table = chunk.samples.replace_schema_metadata({_META: meta.encode()})
    pq.write_table(table, buffer, compression="zstd")
    lake.write_bytes(chunk_path(key), buffer.getvalue().to_pybytes())
