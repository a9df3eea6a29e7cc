"""Texts made comparable: what differs only in width, case, digits' script or dashes is equal."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import polars as pl


@cache
def _digits() -> tuple[list[str], list[str]]:
    """Every decimal digit of every script outside ASCII, and its ASCII digit."""
    found = [
        chr(code)
        for code in range(0x80, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) == "Nd"
    ]
    return found, [str(unicodedata.decimal(digit)) for digit in found]


def plain(text: pl.Expr) -> pl.Expr:
    """Compatibility form (NFKC), ASCII digits, no invisible characters; case kept."""
    others, ascii_digits = _digits()
    return (
        text.str.normalize("NFKC")
        .str.replace_all(r"\p{Cf}", "")
        .str.replace_many(others, ascii_digits)
    )


def fold(text: pl.Expr) -> pl.Expr:
    """The words alone: lower case, punctuation and runs of spaces as one space.

    >>> pl.select(fold(pl.lit("  Crème—Brûlée,  ４２ g!"))).item()
    'crème brûlée 42 g'
    """
    return (
        plain(text)
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{M}\p{N}\p{Extended_Pictographic}]+", " ")
        .str.strip_chars(" ")
    )
