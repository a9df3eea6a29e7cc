"""From a strategy's columns to rows of contracts.SAMPLES."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.histories import Histories

CONTENT = ("kind", "strategy", "item_id", "user_key", "context_items", "text", "label")
"""What makes a sample that sample; weight, scores and lineage describe it."""


def empty_samples() -> pa.Table:
    """No rows of contracts.SAMPLES."""
    return contracts.SAMPLES.empty_table()


def as_samples(frame: pl.DataFrame) -> pa.Table:
    """Rows of contracts.SAMPLES, ids filled in; columns that `frame` lacks are null.

    A row whose content appeared already in `frame` is left out: same sample, same id.
    """
    missing = [name for name in contracts.SAMPLES.names if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(name) for name in missing)
    frame = frame.with_columns(sample_id=_content_ids(frame))
    frame = frame.unique("sample_id", keep="first", maintain_order=True)
    return frame.select(contracts.SAMPLES.names).to_arrow().cast(contracts.SAMPLES)


def _content_ids(frame: pl.DataFrame) -> pl.Series:
    """The first 128 bits of SHA-256 over the content, as hex."""
    content = frame.select(pl.struct(*CONTENT).struct.json_encode()).to_series()
    return pl.Series(
        [hashlib.sha256(row.encode()).hexdigest()[:32] for row in content], dtype=pl.String
    )


def with_place(samples: pa.Table, *, night: str, shard: str) -> pa.Table:
    """The same samples with night and shard, which a cached chunk must not know."""
    for name, value in (("night", night), ("shard", shard)):
        column = pa.repeat(pa.scalar(value, contracts.STRING), samples.num_rows)
        samples = samples.set_column(samples.schema.get_field_index(name), name, column)
    return samples


def contexts(
    histories: Histories,
    users: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    item_ids: pl.Series,
    *,
    length: int,
) -> pl.Series:
    """The last `length` items of each user before the flat position `ends` (exclusive).

    Returns:
        A list column of item ids, oldest first: [rows].
    """
    starts = np.maximum(histories.indptr[users], ends - length)
    counts = ends - starts
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    flat = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, counts)
    values = item_ids.gather(histories.items[flat]).to_arrow().cast(contracts.STRING)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values)
    column = pl.from_arrow(lists)
    assert isinstance(column, pl.Series)
    return column.alias("context_items")
