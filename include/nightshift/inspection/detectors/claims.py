"""Claims of an advertisement that the shop does not make itself."""

from __future__ import annotations

import polars as pl

from nightshift.text.claims import claim


def claims(texts: pl.Series, titles: pl.Series, sources: pl.Series) -> pl.Series:
    """[texts] `superlative`, `promise`, `health` or `price`; null where nothing is claimed."""
    rows = zip(texts, titles, sources, strict=True)
    found = [
        None if text is None else claim(text, f"{title or ''} {source or ''}")
        for text, title, source in rows
    ]
    return pl.Series("claim", found, dtype=pl.String)
