"""Search queries that a customer would type to find an item, by a language model.

Few-shot completion: examples from the shop's own search log where it has one, else from a small
hand-written set. They train the projection of queries into item space.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import polars as pl

from nightshift.generate.cleaning import clean, gives_orders, words
from nightshift.generate.queries import Pair, read_query
from nightshift.generate.search_log import example_pairs
from nightshift.generate.shortage import MIN_LETTERS
from nightshift.generate.strategies.prompted import PromptedStrategy, Row, one_item_a_text
from nightshift.generate.templates import Fields

_TEXT_CHARS = 100
"""A product's line in a prompt; reading prompts costs more than writing queries."""
_EXAMPLE_CHARS = 60
"""A product's line in an example; every token of the examples is attended to by every token."""


class LlmQueries(PromptedStrategy):
    name = "llm_queries"
    version = "2"
    produces = "query"
    prompt_name = "search_queries"

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return one_item_a_text(self.sources, self.own_settings["per_item"])

    @cached_property
    def _pairs(self) -> tuple[tuple[Pair, ...], str]:
        return example_pairs(self.sources.snapshot, _EXAMPLE_CHARS)

    def examples(self) -> tuple[Sequence[Fields], str]:
        pairs, origin = self._pairs
        return [{"text": pair.text, "query": pair.query} for pair in pairs], origin

    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """One prompt a target: `title`, `text`."""
        found = targets.join(
            self.sources.snapshot.items.select("item_id", "title", "text"),
            on="item_id",
            how="left",
            maintain_order="left",
        ).with_columns(pl.col("title", "text").fill_null(""))
        orders = pl.Series([gives_orders(t) for t in found["text"]], dtype=pl.Boolean)
        text = pl.Series([clean(t, _TEXT_CHARS) for t in found["text"]], dtype=pl.String)
        return found.select(
            "item_id",
            "user_key",
            "budget",
            "title",
            text=text,
            readable=~orders & (text.str.count_matches(r"\p{L}") >= MIN_LETTERS),
        )

    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        shown = [Pair(shot["text"], shot["query"]) for shot in shots]
        query, reason = read_query(raw, row["text"], row["title"], shown)
        if query is None:
            return reason
        tokens, source = words(query), set(words(row["text"]))
        share = sum(token in source for token in tokens) / len(tokens)
        return {"text": query, "scores": {"from_text": round(share, 3)}}
