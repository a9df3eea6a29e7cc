"""Descriptions put together from an item's attributes and the best sentences of its reviews.

No language model: extractive summarisation by centrality (Radev et al., 2004; Erkan & Radev, 2004),
over sentence vectors. What customers say again and again about an item is what its text lacks.
An item gets one text, so that an item that is dropped is a sample.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import stable_hash
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.shortage import one_item_a_text
from nightshift.generate.strategies.base import Chunk, Price, Strategy
from nightshift.generate.text.cleaning import (
    clean,
    gives_orders,
    has_labels,
    has_personal_data,
    words,
)
from nightshift.text.encoder import encoder_digest
from nightshift.text.grounding import invented_fact, lost_fact
from nightshift.text.sentiment import sentiment

_SECONDS = 0.02
"""A sample, most of it for embedding the sentences of reviews."""
_TITLE_CHARS = 200
_PART_CHARS = 100
_REVIEW_CHARS = 1000
_MOST_REVIEWS = 20
"""Of an item, drawn by a hash: a sentence that many write is among them."""
_SENTENCE_WORDS = (4, 25)
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+")
_PLAIN = re.compile(r"[^<>{}\[\]|\\`*#_~^=]+")
_DENIES = re.compile(r"\b(?:not|no|never|nothing)\b|n['’]t\b", re.IGNORECASE)
"""What something does not do, said without any word of praise, is a complaint."""
_MIN_NEAR = 0.25
"""Cosine with its item, below which a sentence tells of the customer."""
_TOO_ALIKE = 0.75
"""Cosine from which two sentences say the same."""
_MOOD = 0.1
"""What being pleased is worth beside centrality: between sentences that are as central."""
_BANDS = {"low": "at a low price", "mid": "at an average price", "high": "at a high price"}
_ATTRIBUTES = ("brand", "category", "description")

Vectors = npt.NDArray[np.float32]
Row = dict[str, Any]


class DescriptionFusion(Strategy):
    name = "description_fusion"
    version = "1"
    produces = "description"

    def price(self) -> Price:
        return Price(seconds=_SECONDS)

    def missing(self) -> str | None:
        items = self.sources.snapshot.items
        if any(items[name].null_count() < items.height for name in _ATTRIBUTES):
            return None
        if self.sources.snapshot.reviews["text"].drop_nulls().len():
            return None
        return "the shop has neither attributes beyond the title nor reviews"

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        """Items of which something is known beside the title, the shortest of events first."""
        items = self.sources.snapshot.items
        told = pl.any_horizontal(pl.col(name).is_not_null() for name in _ATTRIBUTES)
        known = items.filter(told | pl.col("item_id").is_in(self._reviews["item_id"].implode()))
        return one_item_a_text(self.sources, 1).join(
            known.select("item_id"), on="item_id", how="semi", maintain_order="left"
        )

    def reads(self, targets: pl.DataFrame) -> Any:
        return [super().reads(targets), encoder_digest(self.sources.settings), self._limit]

    @property
    def _limit(self) -> int:
        return self.sources.settings.inspection.max_text_chars

    @cached_property
    def _reviews(self) -> pl.DataFrame:
        """`item_id` and `text` of up to twenty reviews of each item; none is of a withheld item."""
        reviews = self.sources.snapshot.reviews.select("item_id", "text").drop_nulls()
        reviews = reviews.with_columns(pl.col("text").str.head(_REVIEW_CHARS))
        order = pl.Series("order", stable_hash(reviews["text"].to_list(), salt=self.seed))
        reviews = reviews.with_columns(order).sort("item_id", "order", "text")
        first = reviews.group_by("item_id", maintain_order=True).head(_MOST_REVIEWS)
        return first.select("item_id", "text")

    def generate(self, targets: pl.DataFrame) -> Chunk:
        dropped: Counter[str] = Counter()
        items = self.sources.snapshot.items.select(
            "item_id",
            "title",
            "price_band",
            "withheld",
            "text",
            *_ATTRIBUTES,
            row=pl.Series(self.sources.texts[1]),
        )
        asked = targets.join(items, on="item_id", how="left", maintain_order="left").to_dicts()
        said = self._sentences(asked)
        made = []
        for row in asked:
            text, used = self._fuse(row, said.get(row["item_id"], []))
            if gives_orders(row["text"] or ""):
                dropped["unreadable"] += 1
            elif len(words(text)) <= len(words(clean(row["title"] or "", _TITLE_CHARS))):
                dropped["nothing_new"] += 1
            elif lost := lost_fact(text, row["title"] or ""):
                dropped[lost] += 1
            else:
                made.append({"item_id": row["item_id"], "text": text, "from_reviews": used})
        return Chunk(self._samples(made), dict(sorted(dropped.items())))

    def _sentences(self, asked: list[Row]) -> dict[str, list[str]]:
        """The best sentences of each item's reviews, best first."""
        wanted = self.own_settings["max_reviews"]
        if not wanted:
            return {}
        by_item = {row["item_id"]: row for row in asked if not row["withheld"]}
        reviews = self._reviews.filter(pl.col("item_id").is_in(list(by_item)))
        found: dict[str, list[str]] = {}
        for item_id, text in reviews.iter_rows():
            source = f"{by_item[item_id]['title'] or ''} {by_item[item_id]['text'] or ''}"
            found.setdefault(item_id, []).extend(_usable(text, source))
        flat = sorted({sentence for of_item in found.values() for sentence in of_item})
        if not flat:
            return {}
        vectors = dict(zip(flat, self.sources.encoder.encode(flat), strict=True))
        return {
            item_id: _central(
                list(dict.fromkeys(of_item)),
                np.stack([vectors[sentence] for sentence in of_item]),
                self.sources.texts[0][by_item[item_id]["row"]],
                vectors,
            )[:wanted]
            for item_id, of_item in found.items()
            if of_item
        }

    def _fuse(self, row: Row, sentences: list[str]) -> tuple[str, int]:
        """Title, attributes, and as many of the sentences as there is room for; how many."""
        parts = [clean(row["title"] or "", _TITLE_CHARS).rstrip(" .,;")]
        about = [clean(row[name] or "", _PART_CHARS).rstrip(" .,;") for name in _ATTRIBUTES]
        about.append(_BANDS.get(row["price_band"] or "", ""))
        for part in about:
            if part and not set(words(part)) <= set(words(" ".join(parts))):
                parts.append(part)
        text = ", ".join(part for part in parts if part)[: self._limit].rstrip(" ,") + "."
        used = 0
        for sentence in sentences:
            if len(text) + 1 + len(sentence) <= self._limit:
                text, used = f"{text} {sentence}", used + 1
        return text, used

    def _samples(self, rows: list[Row]) -> Any:
        if not rows:
            return empty_samples()
        lineage = pl.struct(
            version=pl.lit(self.version),
            seed=pl.lit(self.seed),
            encoder=pl.lit(encoder_digest(self.sources.settings)[:16]),
            sources=pl.concat_list("item_id"),
        )
        return as_samples(
            pl.DataFrame(rows).select(
                "item_id",
                "text",
                kind=pl.lit(self.produces),
                strategy=pl.lit(self.name),
                label=pl.lit(1.0),
                weight=pl.lit(1.0),
                scores=pl.struct(
                    from_reviews=pl.col("from_reviews").cast(pl.Float64)
                ).struct.json_encode(),
                lineage=lineage.struct.json_encode(),
            )
        )


def _usable(review: str, source: str) -> list[str]:
    """Sentences of a review that could stand in a description of the item."""
    if gives_orders(review) or has_personal_data(review):
        return []
    found = []
    for sentence in _SENTENCE.split(clean(review, _REVIEW_CHARS)):
        length = len(words(sentence))
        mood = sentiment(sentence)
        if (
            _SENTENCE_WORDS[0] <= length <= _SENTENCE_WORDS[1]
            and _PLAIN.fullmatch(sentence)
            and not sentence.endswith("?")
            and (mood is not None or not _DENIES.search(sentence))
            and not has_labels(sentence)
            and (mood is None or mood >= 0)
            and invented_fact(sentence, source) is None
        ):
            found.append(sentence if sentence[-1] in ".!?…。！？" else f"{sentence}.")
    return found


def _central(
    sentences: list[str], said: Vectors, item: Vectors, vectors: dict[str, Vectors]
) -> list[str]:
    """Sentences near to what is said of the item most and to the item, no two of them alike.

    Args:
        said: vectors of all sentences, repeated ones repeated: [said, width].
    """
    middle = said.mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-9)
    own = np.stack([vectors[sentence] for sentence in sentences])
    moods = np.array([max(sentiment(sentence) or 0.0, 0.0) for sentence in sentences])
    near = np.round(own @ item, 4)
    score = np.round(own @ middle + near + _MOOD * moods, 4)
    chosen: list[int] = []
    for i in np.argsort(-score, kind="stable").tolist():
        if near[i] >= _MIN_NEAR and all(float(own[i] @ own[j]) < _TOO_ALIKE for j in chosen):
            chosen.append(i)
    return [sentences[i] for i in chosen]
