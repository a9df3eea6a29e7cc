"""Cleaning of shop texts: entities, tags, control characters, length. Vectorised."""

from __future__ import annotations

from collections import Counter

import polars as pl

from nightshift.store.markup import TAG, unescape

# Control and format characters but the joiners that scripts need (ZWNJ, ZWJ), and lone surrogates.
_CONTROL = (
    r"[\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffd]"
)
READ_AHEAD = 4
"""Raw texts are read up to this many times the limit: mark-up shrinks, and 1 MB is never moved."""


def clean(texts: pl.Series, limit: int, cut: Counter[str] | None = None) -> pl.Series:
    """Readable single-line texts of at most `limit` characters; null for empty ones.

    `cut["text"]` counts those that were longer.
    """
    done = unescape(texts).str.replace_all(TAG, " ").str.replace_all(_CONTROL, " ")
    done = done.str.replace_all(r"\s+", " ").str.strip_chars(" ")
    too_long = int((done.str.len_chars() > limit).sum())
    if too_long:
        done = done.str.slice(0, limit).str.strip_chars_end(" ")
        if cut is not None:
            cut["text"] += too_long
    return done.replace("", None)


def joined(frame: pl.DataFrame, columns: list[str], limit: int) -> pl.Series:
    """The columns as sentences: "Vanilla ice cream, 56 oz. National brand. Ice cream"."""
    parts = [pl.col(name).str.strip_chars_end(". ") for name in columns]
    whole = pl.concat_str(parts, separator=". ", ignore_nulls=True)
    return frame.select(whole.str.slice(0, limit)).to_series()
