"""What a loader hands over: the shop's row, and its tables as frames of contract columns."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightshift.errors import BadInput

BATCH_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class ShopRow:
    """What is said of the shop as a whole."""

    name: str
    description: str
    repeats: bool
    target_kinds: tuple[str, ...]
    currency: str | None = None


Dropped = dict[str, dict[str, int]]
"""Table → rule → rows that the loader left out; it fills while frames are read."""


@dataclass(frozen=True, slots=True)
class Source:
    """One shop, ready to be copied. Frames come in batches; missing columns are null."""

    shop: ShopRow
    tables: Mapping[str, Iterable[pl.DataFrame]]
    """items, users, events, searches, reviews; loaded in the order given."""
    origins: Mapping[str, str]
    """Table → file, for error messages."""
    totals: Mapping[str, int] = field(default_factory=dict)
    """Table → rows to come, where that is known."""
    dropped: Dropped = field(default_factory=dict)
    changed: Dropped = field(default_factory=dict)
    """Likewise: rows of which the loader cut something."""
    drop_unknown_items: bool = False


def count(dropped: Dropped, table: str, rule: str, rows: int) -> None:
    """Add to the dropped rows of a rule, if there are any."""
    if rows:
        rules = dropped.setdefault(table, {})
        rules[rule] = rules.get(rule, 0) + rows


def existing(path: str | Path) -> Path:
    """The path of a file.

    Raises:
        BadInput: there is none.
    """
    found = Path(path)
    if not found.is_file():
        raise BadInput("There is no such file.", hint="check the path", file=str(path))
    return found


def in_wheel(package: str, *parts: str) -> Path:
    """A data file inside an installed package, found without importing it.

    Raises:
        BadInput: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BadInput(
            f"The package {package} is not installed.", hint="install nightshift[embedded]"
        )
    return Path(spec.origin).parent.joinpath(*parts)


def parquet_batches(path: Path, columns: list[str]) -> Iterator[pl.DataFrame]:
    """A Parquet file in batches, page by page."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def batches(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A frame in slices."""
    yield from frame.iter_slices(BATCH_ROWS)
