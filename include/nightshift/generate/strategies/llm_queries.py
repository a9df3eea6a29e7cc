"""Search queries that a customer would type to find an item, by a language model.

Each prompt names what the search wants (an attribute, a use, a problem solved, a gift, or it is
typed in haste), so that an item gets queries that differ. A model that has been adapted to the shop
answers without examples; else some stand in front: the shop's own searches where it has a log, or
hand-written ones. They train the projection of queries into item space.

A small model asked for a misspelling writes nonsense: it writes a query, and the slip is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import combine, gumbel, stable_hash
from nightshift.generate.shortage import MIN_LETTERS, one_item_a_text
from nightshift.generate.strategies.bases.prompted import (
    Answers,
    PromptedStrategy,
    Row,
)
from nightshift.generate.text.cleaning import gives_orders, words
from nightshift.generate.text.queries import QUERY_PATTERN, Pair, is_circular, read_query, shown
from nightshift.generate.text.search_log import example_pairs, shipped_examples, shop_pairs
from nightshift.generate.text.templates import Fields
from nightshift.generate.text.typos import misspell
from nightshift.text.encoder import encoder_digest

_TEXT_CHARS = 100
"""A product's line in a prompt; reading prompts costs more than writing queries."""
_EXAMPLE_CHARS = 60
"""A product's line in an example; every token of the examples is attended to by every token."""
_PER_QUERY = 3
"""Items of one query that an adapter learns from: more would teach it that query by heart."""
_MISSPELT = "misspelling"
Cosines = npt.NDArray[np.float32]
_SALT = 2
"""Another hash than the ranking's and the chunks': which intents an item gets is independent."""


class LlmQueries(PromptedStrategy):
    name = "llm_queries"
    version = "5"
    produces = "query"
    prompt_name = "search_queries"
    pattern = QUERY_PATTERN

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        per_item = min(self.own_settings["per_item"], len(self._intents))
        return one_item_a_text(self.sources, per_item)

    @cached_property
    def _pairs(self) -> tuple[tuple[Pair, ...], str]:
        searchers = self.sources.settings.generate.min_searchers
        return example_pairs(self.sources.snapshot, _EXAMPLE_CHARS, searchers=searchers)

    def examples(self) -> tuple[Sequence[Fields], str]:
        pairs, origin = self._pairs
        return [pair.fields for pair in self._spelt(pairs)], origin

    def lessons(self, most: int, *, shipped: bool) -> Sequence[tuple[str, Fields]]:
        own = shop_pairs(
            self.sources.snapshot,
            _TEXT_CHARS,
            most=most,
            searchers=self.sources.settings.generate.min_searchers,
            per_query=_PER_QUERY,
        )
        written = shipped_examples(_TEXT_CHARS) if shipped else ()
        return [("shop", pair.fields) for pair in own] + [
            ("shipped", pair.fields) for pair in self._spelt(written)
        ]

    def _spelt(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Without what is misspelt on purpose, unless the model is to do that itself."""
        if self._model_misspells:
            return list(pairs)
        return [pair for pair in pairs if pair.intent != _MISSPELT]

    @property
    def _model_misspells(self) -> bool:
        return bool(self.own_settings["typos"] == "model")

    @cached_property
    def _intents(self) -> dict[str, float]:
        """Intents to draw from, and their weights; "any" only where a log says what that is."""
        weights = self.own_settings["intents"]
        known = self._pairs[1] == "shop"
        return {n: w for n, w in sorted(weights.items()) if w > 0 and (known or n != "any")}

    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """One prompt a query: `wanted`, `intent` as it is shown, `title`, `text`."""
        found = targets.join(
            self.sources.snapshot.items.select("item_id", "title", "text"),
            on="item_id",
            how="left",
            maintain_order="left",
        ).with_columns(pl.col("title", "text").fill_null(""))
        orders = pl.Series([gives_orders(t) for t in found["text"]], dtype=pl.Boolean)
        text = pl.Series([shown(t, _TEXT_CHARS) for t in found["text"]], dtype=pl.String)
        return (
            found.select(
                "item_id",
                "user_key",
                "title",
                text=text,
                readable=~orders & (text.str.count_matches(r"\p{L}") >= MIN_LETTERS),
                wanted=self._drawn(found),
            )
            .explode("wanted")
            .with_columns(
                budget=pl.lit(1, pl.Int64),
                intent=pl.col("wanted")
                if self._model_misspells
                else pl.col("wanted").replace(_MISSPELT, "attribute"),
            )
        )

    def _drawn(self, targets: pl.DataFrame) -> pl.Series:
        """Different intents for each target, as many as its budget: [targets] lists.

        Drawn by weight without replacement from a hash of the seed and the item: an item keeps its
        intents whatever else is asked for.
        """
        names = list(self._intents)
        weights = np.log(list(self._intents.values()))
        items = stable_hash(targets["item_id"].to_list(), _SALT + self.seed)
        salts = stable_hash(names)
        noise = gumbel(combine(items[:, None], salts[None, :]))  # [targets, intents]
        order = np.argsort(-(weights[None, :] + noise), axis=1)
        budgets = targets["budget"].to_list()
        return pl.Series(
            [[names[i] for i in row[:most]] for row, most in zip(order, budgets, strict=True)],
            dtype=pl.List(pl.String),
        )

    @property
    def candidates(self) -> int:
        return int(self.own_settings["candidates"])

    def reads(self, targets: pl.DataFrame) -> Any:
        """With an encoder that chooses, that as well."""
        known = super().reads(targets)
        return known if self.candidates == 1 else [*known, encoder_digest(self.sources.settings)]

    def choose(self, answers: Sequence[Answers], dropped: Counter[str]) -> list[list[Row]]:
        """Of each prompt's answers the one about the product that the others agree with.

        Minimum Bayes risk (Kumar & Byrne, 2004; Eikema & Aziz, 2020): what is like the other
        answers is what the model is sure of, whatever words it takes. The sentence encoder says how
        alike. Neither asks for the product's own words.
        """
        if self.candidates == 1:
            kept = super().choose(answers, dropped)
        else:
            kept = [
                self._best(found, near, agreed, dropped)
                for found, near, agreed in self._nearness(answers)
            ]
        return [[self._typed(row) for row in rows] for rows in kept]

    def _nearness(self, answers: Sequence[Answers]) -> Iterator[tuple[Answers, Cosines, Cosines]]:
        """Each prompt's answers with their cosines: with its product, and with all its answers."""
        if not any(found.rows for found in answers):
            return
        encode = self.sources.encoder.encode
        products = encode([found.prompt["text"] for found in answers], label="products")
        texts = encode([row["text"] for found in answers for row in found.rows], label="answers")
        ends = np.cumsum([len(found.rows) for found in answers])
        parts = np.split(texts, ends[:-1])
        for found, product, own in zip(answers, products, parts, strict=True):
            votes = np.array(found.votes, dtype=np.float32)
            yield found, own @ product, own @ own.T @ (votes / max(votes.sum(), 1))

    def _best(
        self, found: Answers, near: Cosines, agreed: Cosines, dropped: Counter[str]
    ) -> list[Row]:
        if not found.rows:
            return []
        best = int((near + agreed).argmax())
        if near[best] < self.own_settings["min_similarity"]:
            dropped["off_topic"] += 1
            return []
        alone = self._asks("temperature") > 0 and sum(found.votes) == 1
        if alone or agreed[best] < self.own_settings["min_agreement"]:
            dropped["unsure"] += 1
            return []
        row = found.rows[best]
        measured = {"near": near[best], "agreed": agreed[best]}
        scores = {name: round(float(value), 3) for name, value in measured.items()}
        return [row | {"scores": row["scores"] | scores, "votes": found.votes[best]}]

    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        examples = [Pair(shot["text"], shot["query"]) for shot in shots]
        query, reason = read_query(raw, row["text"], row["title"], examples)
        if query is None:
            return reason
        if is_circular(query):
            return "circular"
        tokens, source = words(query), set(words(row["text"]))
        share = sum(token in source for token in tokens) / len(tokens)
        return {
            "text": query,
            "scores": {"from_text": round(share, 3)},
            "intent": row["wanted"],
        }

    def _typed(self, found: Row) -> Row:
        """As it is typed: a misspelling that the model was not asked for is made now."""
        if found["intent"] != _MISSPELT or self._model_misspells:
            return found
        return found | {"text": misspell(found["text"], self.seed, found["item_id"])}

    def finish(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:
        """Each item's queries once: two intents may have led to the same words."""
        known: set[tuple[str, str]] = set()
        kept = []
        for row in rows:
            key = (row["item_id"], row["text"])
            if key in known:
                dropped["duplicate"] += 1
            else:
                known.add(key)
                kept.append(row)
        return kept
