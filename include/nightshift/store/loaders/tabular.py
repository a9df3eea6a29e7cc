"""Reading CSV and Parquet against expected columns, with the place of whatever is wrong.

CSV is read as text, so that a value that cannot be a number or a time is found with its row. Rows
count from 1, the first one below the header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from nightshift.errors import BadInput
from nightshift.store.loaders.source import BATCH_ROWS, existing

MAX_TEXT_CHARS = 1_000_000  # a longer one is cut and counted
Kind = Literal["id", "text", "number", "time", "seconds"]
Counter = Callable[[str, int], None]
_SECONDS = (-62_135_596_800, 253_402_300_799)  # the years 1 to 9999


@dataclass(frozen=True, slots=True)
class Column:
    """What a column must hold. `values` are the only ones allowed."""

    kind: Kind
    optional: bool = False
    """The column may be missing, its cells empty."""
    values: tuple[str, ...] | None = None


def read_table(
    path: Path | str, columns: Mapping[str, Column], *, cut: Counter | None = None
) -> Iterator[pl.DataFrame]:
    """Batches with `row` and the columns: text, Float64, or naive UTC microseconds.

    `cut(column, rows)` is told of texts that were cut to MAX_TEXT_CHARS.

    Raises:
        BadInput: no such file, not CSV or Parquet, a column is missing, a value cannot be read.
    """
    file = existing(path)
    try:
        scan = _scan(file)
        names = scan.collect_schema().names()
        missing = [n for n, column in columns.items() if n not in names and not column.optional]
        if missing:
            raise BadInput(
                f"Columns are missing: {', '.join(missing)}.",
                hint=f"the file has {', '.join(names)}; needed are {', '.join(columns)}",
                file=str(file),
                column=missing[0],
            )
        wanted = [name for name in columns if name in names]
        start = 1
        for batch in scan.select(wanted).collect_batches(chunk_size=BATCH_ROWS):
            frame = batch.with_row_index("row", offset=start)
            start += frame.height
            yield _checked(frame, columns, str(file), cut)
    except PolarsError as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"The file cannot be read: {first}.",
            hint="it must be CSV in UTF-8 with a header, or Parquet",
            file=str(file),
        ) from error


def _scan(file: Path) -> pl.LazyFrame:
    if ".parquet" in file.suffixes:
        return pl.scan_parquet(file, glob=False)
    if file.stat().st_size == 0:
        raise BadInput(
            "The file is empty.", hint="the first line names the columns", file=str(file)
        )
    return pl.scan_csv(file, infer_schema=False, glob=False)


def _checked(
    frame: pl.DataFrame, columns: Mapping[str, Column], file: str, cut: Counter | None
) -> pl.DataFrame:
    done: dict[str, pl.Series] = {"row": frame["row"].cast(pl.Int64)}
    for name, column in columns.items():
        if name not in frame.columns:
            continue
        values = frame[name]
        parsed, bad, problem, hint = _PARSERS[column.kind](values)
        if column.values is not None:
            wrong = values.is_not_null() & ~values.is_in(list(column.values))
            bad, problem = bad | wrong, "is none of the known values"
            hint = f"one of {', '.join(column.values)}"
        empty = parsed.is_null() & ~bad
        if not column.optional and column.kind != "text" and empty.any():
            bad, problem, hint = bad | empty, "is empty", "every row needs one"
        if bad.any():
            at = bad.arg_max()
            assert at is not None
            shown = values[at]
            raise BadInput(
                f"{str(shown)[:80]!r} {problem}." if shown is not None else f"The value {problem}.",
                hint=hint,
                file=file,
                row=done["row"][at],
                column=name,
            )
        if parsed.dtype == pl.String:
            long = int((parsed.str.len_chars() > MAX_TEXT_CHARS).sum())
            if long:
                parsed = parsed.str.slice(0, MAX_TEXT_CHARS)
                if cut is not None:
                    cut(name, long)
        done[name] = parsed
    return pl.DataFrame(done)


Parsed = tuple[pl.Series, pl.Series, str, str]
"""The values, a mask of what cannot be read, the problem, the way out."""


def _text(values: pl.Series) -> Parsed:
    texts = values.cast(pl.String)
    nul = texts.str.contains("\0", literal=True).fill_null(False)
    return texts, nul, "holds a NUL byte", "Postgres keeps no NUL bytes: remove them"


def _id(values: pl.Series) -> Parsed:
    whole = values.dtype.is_float() and (values.is_null() | (values == values.round())).all()
    texts = (values.cast(pl.Int64) if whole else values).cast(pl.String).str.strip_chars()
    nul = texts.str.contains("\0", literal=True).fill_null(False)
    if nul.any():
        return texts, nul, "holds a NUL byte", "Postgres keeps no NUL bytes: remove them"
    return texts.replace("", None), nul, "", ""


def _number(values: pl.Series) -> Parsed:
    if values.dtype == pl.String:
        stripped = values.str.strip_chars().replace("", None)
        numbers = stripped.cast(pl.Float64, strict=False)
        bad = stripped.is_not_null() & (numbers.is_null() | ~numbers.is_finite())
    else:
        numbers = values.cast(pl.Float64)
        bad = (numbers.is_nan() | numbers.is_infinite()).fill_null(False)
    return (
        numbers,
        bad.fill_null(True),
        "is not a number",
        "write 12.50, without currency or commas",
    )


def _seconds(values: pl.Series) -> Parsed:
    numbers, bad, _, _ = _number(values)
    bad = bad | ~numbers.is_between(*_SECONDS).fill_null(True)
    times = (numbers.set(bad, 0.0) * 1e6).round().cast(pl.Int64)
    return (
        times.cast(pl.Datetime("us")),
        bad,
        "is not a time in seconds since 1970",
        "such as 1405296000",
    )


def _time(values: pl.Series) -> Parsed:
    hint = "ISO 8601: 2017-11-20, 2017-11-20 18:30:00, 2017-11-20T18:30:00+01:00; no zone: UTC"
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is not None:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(pl.Datetime("us")), values.is_null() & False, "", hint
    if values.dtype == pl.Date:
        return values.cast(pl.Datetime("us")), values.is_null() & False, "", hint
    texts = values.cast(pl.String).str.strip_chars().replace("", None)
    if values.dtype != pl.String:  # a bare number could be seconds, milliseconds or a date
        return texts.str.to_datetime("%Y", strict=False), texts.is_not_null(), "is not a time", hint
    times = parse_times(texts)
    return times, texts.is_not_null() & times.is_null(), "is not a time", hint


def parse_times(texts: pl.Series) -> pl.Series:
    """ISO 8601 as naive UTC microseconds; null where it is none."""
    plain = texts.str.replace(r"^(\d{4}-\d\d-\d\d)[tT ]", "$1 ").str.replace(r"[zZ]$", "+00:00")
    plain = plain.str.replace(r"^(\S+ .*[+-]\d\d):?(\d\d)?$", "${1}:${2}")
    zoned = plain.str.contains(r" .*[+-]\d\d:\d{0,2}$")
    name = texts.name
    frame = pl.DataFrame({"plain": plain, "zoned": zoned})
    naive = [
        pl.col("plain").str.to_datetime(shape, strict=False, time_unit="us")
        for shape in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    ]
    with_zone = [
        pl.col("plain")
        .str.replace(r":$", ":00")
        .str.to_datetime(shape, strict=False, time_unit="us", time_zone="UTC")
        .dt.replace_time_zone(None)
        for shape in ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z")
    ]
    return frame.select(
        pl.when("zoned").then(pl.coalesce(*with_zone)).otherwise(pl.coalesce(*naive)).alias(name)
    ).to_series()


_PARSERS: dict[Kind, Callable[[pl.Series], Parsed]] = {
    "id": _id,
    "text": _text,
    "number": _number,
    "time": _time,
    "seconds": _seconds,
}
