"""Copies: of the title, and of an earlier sample."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.fold import fold

_LONG_TITLE_WORDS = 4  # containing a title this long is copying it, whatever stands around it


def copies_title(text: pl.Expr, title: pl.Expr) -> pl.Expr:
    """Is the text the title, or does it hold a title of four words or more. Null title: false."""
    words, title_words = fold(text), fold(title)
    long_title = title_words.str.count_matches(" ") + 1 >= _LONG_TITLE_WORDS
    padded = pl.concat_str(pl.lit(" "), words, pl.lit(" "))
    inside = padded.str.contains(pl.concat_str(pl.lit(" "), title_words, pl.lit(" ")), literal=True)
    return ((words == title_words) | (long_title & inside)).fill_null(False)


def is_title(text: pl.Expr, title: pl.Expr) -> pl.Expr:
    """Is the text the title and nothing else. Null title: false."""
    return (fold(text) == fold(title)).fill_null(False)


def is_first(frame: pl.DataFrame, *columns: str) -> pl.Series:
    """[rows] true for the first row of each distinct combination; nulls are equal to each other."""
    return frame.select(pl.struct(columns).is_first_distinct()).to_series()
