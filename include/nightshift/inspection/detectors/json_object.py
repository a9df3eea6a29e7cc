"""JSON that is carried as text."""

from __future__ import annotations

import polars as pl


def is_object(text: pl.Expr) -> pl.Expr:
    """Is it one well-formed JSON object (an empty one too); a null is not."""
    whole = text.str.strip_chars()
    return ((whole == "{}") | whole.str.json_path_match("$").str.starts_with("{")).fill_null(False)


def number(text: pl.Expr, name: str) -> pl.Expr:
    """The number under `name`, or null."""
    return text.str.json_path_match(f"$.{name}").cast(pl.Float64, strict=False)
