"""Is it writing at all: the share of letters, in any script."""

from __future__ import annotations

import polars as pl

_LETTER = r"[\p{L}\p{M}\p{Extended_Pictographic}]"
# One sign of these scripts can be a whole word (茶), so it counts as two letters.
_SYLLABIC = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
_MIN_LETTERS = 2


def letter_share(text: pl.Expr) -> pl.Expr:
    """Letters over characters without spaces, 0 to 1; 0 below two letters, null for null.

    Marks (Hindi vowels, Arabic diacritics) and pictographs count as letters.
    """
    letters = text.str.count_matches(_LETTER)
    filled = text.str.count_matches(r"\S")
    enough = letters + text.str.count_matches(_SYLLABIC) >= _MIN_LETTERS
    return (
        pl.when(text.is_null())
        .then(None)
        .when(enough & (filled > 0))
        .then(letters / filled)
        .otherwise(0.0)
    )
