"""Queries with a word exchanged for a synonym: what else customers may call the same thing.

A query is the shop's own where somebody searched for the item before the night, else the words of
its title. A word is exchanged by WordNet or by the shop's own vocabulary, and the query is kept
when the encoder finds that it still says the same (as lexical substitution is filtered by context:
Melamud, Levy & Dagan, 2015).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.fits import Tensors
from nightshift.generate.hashing import stable_hash
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.shortage import one_item_a_text
from nightshift.generate.strategies.base import Chunk, Price, Strategy
from nightshift.generate.text.cleaning import clean, gives_orders, words
from nightshift.generate.text.exchanges import Exchanges, near_words, vocabulary
from nightshift.generate.text.queries import read_query
from nightshift.generate.text.search_log import queries_of_items
from nightshift.generate.text.wordnet import load_synonyms
from nightshift.text.attributes import STOP_WORDS
from nightshift.text.encoder import encoder_digest
from nightshift.text.grounding import attributes

_SECONDS = 0.02
"""A sample, most of it for embedding what it might have been."""
_FIT_SECONDS = 5.0
"""For the vectors of the shop's words, about; 2 s with 4,000 items."""
_TITLE_CHARS = 100
_KEY_TERMS = 4
_MOST_TRIED = 24
"""Ways of saying a query that are embedded, at most."""
_MIN_WORDS = 0.5
"""Cosine of two words that WordNet takes for one: below, it is another sense of the word."""
_FARTHER = 0.15
"""So much less similar to its item than before may a query become."""

Row = dict[str, Any]


class Synonyms(Strategy):
    name = "synonyms"
    version = "1"
    produces = "query"

    def price(self) -> Price:
        return Price(seconds=_SECONDS, fit_seconds=_FIT_SECONDS)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return one_item_a_text(self.sources, self.own_settings["per_item"])

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"wordnet": self._wordnet_digest}

    def reads(self, targets: pl.DataFrame) -> Any:
        encoder = encoder_digest(self.sources.settings)
        return [super().reads(targets), self._wordnet_digest, encoder]

    @cached_property
    def _wordnet(self) -> dict[str, tuple[str, ...]]:
        return load_synonyms(self.sources.settings.generate.synonyms.wordnet)

    @cached_property
    def _wordnet_digest(self) -> str:
        return hashlib.sha256(repr(sorted(self._wordnet.items())).encode()).hexdigest()[:16]

    @cached_property
    def _exchanges(self) -> Exchanges:
        items = self.sources.snapshot.items
        texts = items["text"].drop_nulls().unique(maintain_order=True)
        brands = {word for name in items["brand"].drop_nulls().unique() for word in words(name)}
        known = [word for word in vocabulary(texts) if word not in brands]

        def make() -> Tensors:
            own = self.own_settings
            vectors = self.sources.encoder.encode(known, label="words of the shop")
            return {"near": near_words(known, vectors, own["neighbours"], own["min_similarity"])}

        used = {word for text in texts for word in words(text)}
        in_one_piece = self.sources.encoder.has_word
        return Exchanges(
            self._wordnet,
            known,
            self.fitted(make)["near"],
            lambda word: word in used or in_one_piece(word),
        )

    @cached_property
    def _searched(self) -> dict[str, list[str]]:
        return queries_of_items(self.sources.snapshot)

    def fit(self) -> None:
        _ = self._exchanges

    def generate(self, targets: pl.DataFrame) -> Chunk:
        dropped: Counter[str] = Counter()
        tried = [row for target in self._asked(targets) for row in self._ways(target, dropped)]
        if tried:
            self._measure(tried)
        samples: list[Row] = []
        for _, rows in (
            pl.DataFrame(tried).group_by("item_id", maintain_order=True) if tried else ()
        ):
            samples += self._chosen(rows, dropped)
        return Chunk(self._samples(samples), dict(sorted(dropped.items())))

    def _asked(self, targets: pl.DataFrame) -> list[Row]:
        """Each target with its item's `title`, `text` and `row` of the vectors."""
        items = self.sources.snapshot.items.select(
            "item_id",
            pl.col("title", "text").fill_null(""),
            row=pl.Series(self.sources.texts[1]),
        )
        return targets.join(items, on="item_id", how="left", maintain_order="left").to_dicts()

    def _ways(self, target: Row, dropped: Counter[str]) -> list[Row]:
        """The item's queries, said otherwise; those that parse as queries and change no fact."""
        if not target["text"] or gives_orders(target["text"]):
            dropped["unreadable"] += target["budget"]
            return []
        title = clean(target["title"], _TITLE_CHARS)
        own = self._searched.get(target["item_id"], [])
        found = []
        for query in own or _key_terms(title):
            for way in self._exchanges.said_otherwise(query):
                said, _ = read_query(way.said, target["text"][:_TITLE_CHARS], title, [])
                if said is not None and said not in own and attributes(said) == attributes(query):
                    known = {"query": query, "own": bool(own)}
                    found.append(target | asdict(way) | known | {"said": said})
        if not found:
            dropped["no_synonym"] += target["budget"]
        # Which ones, where there are too many: by a hash of what is said, not by the alphabet.
        order = np.argsort(stable_hash([row["said"] for row in found], salt=self.seed))
        return [found[i] for i in order[:_MOST_TRIED]]

    def _measure(self, tried: list[Row]) -> None:
        """Cosines: `context` (the query before and after), `words` (what was exchanged), `near`
        and `was_near` (with the item, after and before).
        """
        names = ("query", "said", "phrase", "other")
        texts = sorted({row[name] for row in tried for name in names})
        place = {text: i for i, text in enumerate(texts)}
        vectors = self.sources.encoder.encode(texts)
        before, said, phrase, other = (
            vectors[[place[row[name]] for row in tried]] for name in names
        )
        items = self.sources.texts[0][[row["row"] for row in tried]]
        for name, left, right in (
            ("context", said, before),
            ("words", phrase, other),
            ("near", said, items),
            ("was_near", before, items),
        ):
            for row, value in zip(tried, _cosines(left, right), strict=True):
                row[name] = value

    def _chosen(self, rows: pl.DataFrame, dropped: Counter[str]) -> list[Row]:
        """What says the same in the item's context, the surest first; the rest is counted."""
        wanted = int(rows["budget"][0])
        fit = (
            rows.filter(
                (pl.col("context") >= self.own_settings["min_context"])
                & (pl.col("words") >= _MIN_WORDS)
                & (pl.col("near") >= pl.col("was_near") - _FARTHER)
            )
            .unique("said", keep="first", maintain_order=True)
            .sort("context", descending=True, maintain_order=True)
            .head(wanted)
        )
        if fit.height < wanted:
            dropped["out_of_context" if fit.is_empty() else "too_few"] += wanted - fit.height
        return fit.to_dicts()

    def _samples(self, rows: list[Row]) -> Any:
        if not rows:
            return empty_samples()
        frame = pl.DataFrame(rows)
        lineage = pl.struct(
            version=pl.lit(self.version),
            seed=pl.lit(self.seed),
            wordnet=pl.lit(self._wordnet_digest),
            from_query="query",
            query_of=pl.when("own").then(pl.lit("shop")).otherwise(pl.lit("title")),
            synonym_of="origin",
            sources=pl.concat_list("item_id"),
        )
        scores = pl.struct(similarity="context", relevance="near")
        return as_samples(
            frame.select(
                "item_id",
                text="said",
                kind=pl.lit(self.produces),
                strategy=pl.lit(self.name),
                label=pl.lit(1.0),
                weight=pl.lit(1.0),
                scores=scores.struct.json_encode(),
                lineage=lineage.struct.json_encode(),
            )
        )


def _key_terms(title: str) -> list[str]:
    """The words of a title that carry meaning, as one query; none where there is just a name."""
    kept = [w for w in words(title) if w.isalpha() and len(w) > 2 and w not in STOP_WORDS]
    return [" ".join(dict.fromkeys(kept[:_KEY_TERMS]))] if kept else []


def _cosines(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> list[float]:
    found: list[float] = np.einsum("ij,ij->i", left, right).astype(np.float64).round(4).tolist()
    return found
