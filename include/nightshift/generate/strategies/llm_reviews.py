"""Reviews by a language model, grounded in an item's attributes and in a rating's sentiment.

The rating is drawn first and stands in the prompt; it is the sample's label. Ratings follow the
shop's own distribution, so that good and bad reviews are as frequent as its customers make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from nightshift.generate.hashing import combine, stable_hash
from nightshift.generate.strategies.bases.item_texts import ItemTexts, about, shipped_examples
from nightshift.generate.strategies.bases.prompted import Row
from nightshift.generate.text.review_log import example_reviews, rating_shares
from nightshift.generate.text.templates import Fields
from nightshift.text.sentiment import agrees, sentiment

_MOODS = ("very disappointed", "disappointed", "mixed feelings", "happy", "delighted")
_PLEASED_FROM = 4
_UNIT = 2.0**-64


class LlmReviews(ItemTexts):
    name = "llm_reviews"
    version = "1"
    produces = "review"
    prompt_name = "reviews"
    shown_chars = 80

    @cached_property
    def _shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        own = rating_shares(self.sources.snapshot.reviews)
        return np.array(self.own_settings["ratings"]) if own is None else own

    @cached_property
    def _found(self) -> tuple[list[Fields], str]:
        rows, origin = example_reviews(self.sources.snapshot)
        if not rows:
            rows, origin = list(shipped_examples("review_examples")), "shipped"
        return [
            {"text": row["text"], "review": row["review"]} | _rating(row["rating"]) for row in rows
        ], origin

    def examples(self) -> tuple[Sequence[Fields], str]:
        return self._found

    def fields(self, rows: pl.DataFrame) -> pl.DataFrame:
        """With `stars` and `mood`: a draw by (seed, item, nth), whoever shares the chunk."""
        edges = np.cumsum(self._shares / self._shares.sum())
        of_item = stable_hash(rows["item_id"].to_list(), salt=self.seed)
        hashes = combine(of_item, rows["nth"].to_numpy().astype(np.uint64))
        ratings = 1 + np.searchsorted(edges[:-1], hashes.astype(np.float64) * _UNIT, side="right")
        drawn = pl.DataFrame([_rating(int(r)) for r in ratings], schema=["stars", "mood"])
        return pl.concat([rows, drawn], how="horizontal")

    def _shots(self, asked: pl.DataFrame) -> list[Fields]:
        """As many pleased as displeased ones, in turns: a model goes on as it hears it."""
        found = self.examples()[0]
        rng = np.random.default_rng(self._chunk_seed(asked))
        sides: tuple[list[Fields], list[Fields]] = ([], [])
        for shot in found:
            sides[int(shot["stars"]) < _PLEASED_FROM].append(shot)
        drawn = [[side[i] for i in rng.permutation(len(side))] for side in sides]
        turns = [shot for pair in zip(*drawn, strict=False) for shot in pair]
        return turns[: self.own_settings["shots"]]

    def example_text(self, shot: Fields) -> str:
        return shot["review"]

    def judge(self, text: str, row: Row) -> Row | str:
        rating = int(row["stars"])
        shared = about(text, row)
        if not shared:
            return "off_topic"
        mood = sentiment(text)
        if not agrees(mood, rating, strict=True):
            return "wrong_sentiment"
        scores = {"sentiment": round(mood or 0.0, 3), "from_text": shared}
        return {"text": text, "label": float(rating), "scores": scores}


def _rating(stars: int) -> dict[str, str]:
    return {"stars": str(stars), "mood": _MOODS[stars - 1]}
