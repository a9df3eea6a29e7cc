"""Facts of a text against those of its item: what was made up, what was lost."""

from __future__ import annotations

import polars as pl

from nightshift.text.grounding import invented_fact, lost_fact


def invented(texts: pl.Series, titles: pl.Series, sources: pl.Series) -> pl.Series:
    """[texts] the first sort of fact that neither title nor source has (`invented_number` …).

    Null: there is none, or no text.
    """
    rows = zip(texts, titles, sources, strict=True)
    found = [
        None if text is None else invented_fact(text, f"{title or ''} {source or ''}")
        for text, title, source in rows
    ]
    return pl.Series("invented", found, dtype=pl.String)


def lost(texts: pl.Series, titles: pl.Series) -> pl.Series:
    """[texts] the first sort of fact of the title that is gone (`lost_number` …); null: none."""
    found = [
        None if text is None or title is None else lost_fact(text, title)
        for text, title in zip(texts, titles, strict=True)
    ]
    return pl.Series("lost", found, dtype=pl.String)
