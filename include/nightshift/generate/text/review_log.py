"""The shop's own reviews before the night: how its ratings fall, and examples for prompts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import stable_hash
from nightshift.generate.text.cleaning import clean, gives_orders
from nightshift.generate.text.prose import read_prose
from nightshift.snapshot import Snapshot
from nightshift.text.grounding import content_words, invented_fact
from nightshift.text.sentiment import agrees, sentiment

STARS = 5
_MIN_RATINGS = 50
"""With fewer, a shop's distribution is noise."""
_PRIOR = 1.0
"""Ratings of each kind that are thought to be there: nothing is impossible."""
_ITEM_CHARS = 80
_REVIEW_CHARS = 200
_READ_CHARS = 1000
_MIN_EACH = 8
"""Pleased and displeased examples that there must be: else the same ones stand everywhere."""
_MAX_EACH = 100
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def five_stars(ratings: pl.Series) -> pl.Series:
    """Ratings on a scale of 1 to 5; a shop that goes higher (to 10, to 100) is scaled down."""
    top = ratings.max()
    scaled = ratings * (STARS / top) if isinstance(top, (int, float)) and top > STARS else ratings
    return scaled.round().clip(1, STARS).cast(pl.Int64)


def rating_shares(reviews: pl.DataFrame) -> npt.NDArray[np.float64] | None:
    """Shares of 1 … 5 stars, [5]; None where the shop has too few ratings."""
    ratings = five_stars(reviews["rating"].drop_nulls().drop_nans())
    if len(ratings) < _MIN_RATINGS:
        return None
    counts = np.bincount(ratings.to_numpy() - 1, minlength=STARS) + _PRIOR
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def example_reviews(snapshot: Snapshot) -> tuple[list[dict[str, Any]], str]:
    """Examples (`text`, `rating`, `review`) and "shop"; none when there are not enough.

    The first sentences of reviews whose words fit their rating and that say nothing that the
    item's text does not; in the order of a hash, so that they hardly change from night to night.
    """
    reviews = snapshot.reviews.drop_nulls(["rating", "text"])
    if reviews.height < 2 * _MIN_EACH:
        return [], "none"
    reviews = reviews.with_columns(rating=five_stars(reviews["rating"]))
    items = snapshot.items.filter(~pl.col("withheld")).select("item_id", item=pl.col("text"))
    joined = reviews.join(items, on="item_id").drop_nulls("item")
    order = stable_hash((joined["item_id"] + " " + joined["text"].str.head(_READ_CHARS)).to_list())
    joined = joined.with_columns(order=pl.Series(order)).sort("order")
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for rating, text, item in joined.select("rating", "text", "item").iter_rows():
        side = found[rating > STARS // 2 + 1]
        if len(side) < _MAX_EACH and (review := _example(text, item, rating)):
            side.append({"text": clean(item, _ITEM_CHARS), "rating": rating, "review": review})
        if all(len(side) == _MAX_EACH for side in found.values()):
            break
    if min(map(len, found.values())) < _MIN_EACH:
        return [], "none"
    return found[True] + found[False], "shop"


def _example(text: str, item: str, rating: int) -> str:
    """The head of a review as a model should write one, or "" where it is no such thing."""
    if gives_orders(text) or gives_orders(item):
        return ""
    review = ""
    for sentence in _SENTENCE.split(clean(text, _READ_CHARS)):
        if len(review) + len(sentence) >= _REVIEW_CHARS:
            break
        review = f"{review} {sentence}".strip()
    review, _ = read_prose(review, max_new_tokens=_READ_CHARS, shown=[])
    if not review or invented_fact(review, item):
        return ""
    grounded = content_words(review) & content_words(item)
    return review if grounded and agrees(sentiment(review), rating, strict=True) else ""
