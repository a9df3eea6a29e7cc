"""Characters that no customer types: controls, private use, replacement, text direction tricks."""

from __future__ import annotations

import polars as pl

# Joiners (U+200C, U+200D), direction marks (U+200E, U+200F) and the zero-width space of Khmer and
# Thai stay: they belong to good Persian, Hindi, Arabic, Khmer and emoji. Overrides and isolates
# (U+202A-U+202E, U+2066-U+2069) only serve to show another text than the one that is there.
_UNPRINTABLE = (
    r"[\p{Cc}\p{Co}\p{Zl}\p{Zp}\u{FFFD}\u{FEFF}\u{2060}-\u{2064}"
    r"\u{202A}-\u{202E}\u{2066}-\u{2069}\u{FFF9}-\u{FFFB}]"
)


def unprintable(text: pl.Expr) -> pl.Expr:
    """How many such characters a one-line text holds; a line break counts."""
    return text.str.count_matches(_UNPRINTABLE)
