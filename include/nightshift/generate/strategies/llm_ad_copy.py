"""One line that sells an item, to the taste of the customers who buy what is like it.

It must speak of the item and must not claim what the shop does not claim itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import polars as pl

from nightshift.generate.customers.segments import EVERYBODY, Segments
from nightshift.generate.strategies.bases.item_texts import ItemTexts, about, shipped_examples
from nightshift.generate.strategies.bases.prompted import Row
from nightshift.generate.text.templates import Fields
from nightshift.text.claims import claim
from nightshift.text.grounding import content_words

_MAX_CHARS = 120
"""One line of an advertisement."""
_OF_THE_PROMPT = frozenset({"advertisement", "customer", "product", "user"})
"""Said of those who read it, not to them; so is the name of their segment."""


class LlmAdCopy(ItemTexts):
    name = "llm_ad_copy"
    version = "1"
    produces = "ad_copy"
    prompt_name = "ad_copy"
    shown_chars = 80

    @cached_property
    def _segments(self) -> Segments:
        return Segments(self.sources)

    def examples(self) -> tuple[Sequence[Fields], str]:
        return shipped_examples("ad_examples"), "shipped"

    def fields(self, rows: pl.DataFrame) -> pl.DataFrame:
        """With `segment`, as a prompt names it, and `written_for`, as the shop does.

        An item's first text is for its first segment, and so on.
        """
        known = self._segments.of_items(rows["item_id"].unique(maintain_order=True).to_list())
        chosen = [
            known[item][nth] if nth < len(known[item]) else None
            for item, nth in rows.select("item_id", "nth").iter_rows()
        ]
        labels = [EVERYBODY if name is None else self._segments.labels[name] for name in chosen]
        return rows.with_columns(
            segment=pl.Series(labels, dtype=pl.String),
            written_for=pl.Series(chosen, dtype=pl.String),
        )

    def example_text(self, shot: Fields) -> str:
        return shot["line"]

    def judge(self, text: str, row: Row) -> Row | str:
        if len(text) > _MAX_CHARS:
            return "too_long"
        if claim(text, f"{row['title']} {row['source']}"):
            return "claim"
        source = content_words(f"{row['title']} {row['source']}")
        if content_words(text) & (_OF_THE_PROMPT | content_words(row["segment"])) - source:
            return "prompt_leak"
        shared = about(text, row)
        if not shared:
            return "off_topic"
        scores = {"from_text": shared}
        return {"text": text, "segment": row["written_for"], "scores": scores}
