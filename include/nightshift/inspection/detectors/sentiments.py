"""Does a review say the opposite of its rating."""

from __future__ import annotations

import polars as pl

from nightshift.text.sentiment import agrees, sentiment


def agreement(texts: pl.Series, ratings: pl.Series) -> pl.Series:
    """[texts] false where the words say the opposite of the rating; where they say nothing, true.

    A missing text or rating is another rule's finding.
    """
    found = [
        text is None or rating is None or agrees(sentiment(text), rating)
        for text, rating in zip(texts, ratings, strict=True)
    ]
    return pl.Series("sentiment_agrees", found, dtype=pl.Boolean)
