"""What the strategies share that let a language model write prose about an item.

One prompt a wanted text, so that every text that was asked for is made or counted as dropped.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import polars as pl

from nightshift.generate.shortage import MIN_LETTERS, one_item_a_text
from nightshift.generate.strategies.bases.prompted import PromptedStrategy, Row
from nightshift.generate.text.cleaning import clean, gives_orders
from nightshift.generate.text.prose import read_prose
from nightshift.generate.text.templates import Fields, prompt_file
from nightshift.text.grounding import content_words, invented_fact

_SOURCE_CHARS = 2000
"""Of an item's text, what an answer's facts are looked up in."""


class ItemTexts(PromptedStrategy):
    """A strategy whose samples are a sentence or two about an item."""

    shown_chars: ClassVar[int] = 120
    """An item's line in a prompt."""
    sentences: ClassVar[int] = 2
    """That are taken of an answer."""
    min_words: ClassVar[int] = 4

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return one_item_a_text(self.sources, self.own_settings["per_item"])

    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """One row a wanted text: `nth` of its item, `title`, `source`, `text` and `fields`."""
        wanted = targets.with_columns(nth=pl.int_ranges(0, "budget")).explode("nth")
        found = wanted.join(
            self.sources.snapshot.items.select("item_id", "title", "text", "brand"),
            on="item_id",
            how="left",
            maintain_order="left",
        ).with_columns(pl.col("title", "text").fill_null(""))
        distinct = {text: _shown(text, self.shown_chars) for text in found["text"].unique()}
        text = pl.Series([distinct[t][0] for t in found["text"]], dtype=pl.String)
        orders = pl.Series([distinct[t][1] for t in found["text"]], dtype=pl.Boolean)
        rows = found.select(
            "item_id",
            "user_key",
            "nth",
            "brand",
            pl.col("title").str.head(_SOURCE_CHARS),
            source=pl.col("text").str.head(_SOURCE_CHARS),
            text=text,
            budget=pl.lit(1, pl.Int64),
            readable=~orders & (text.str.count_matches(r"\p{L}") >= MIN_LETTERS),
        )
        return self.fields(rows)

    def fields(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with the other columns that the template's question shows."""
        return rows

    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        text, reason = read_prose(
            raw,
            max_new_tokens=self.own_settings["max_new_tokens"],
            shown=[self.example_text(shot) for shot in shots],
            sentences=self.sentences,
            min_words=self.min_words,
        )
        if reason:
            return reason
        source = f"{row['title']} {row['source']}"
        if self.borrows(text, source, shots):
            return "leaked_example"
        return invented_fact(text, source) or self.judge(text, row)

    def borrows(self, text: str, source: str, shots: Sequence[Fields]) -> bool:
        """Does it speak of what an example is about: a mug, where the item is a lamp."""
        others = content_words(" ".join(shot["text"].split(",")[0] for shot in shots))
        return bool(content_words(text) & others - content_words(source))

    @abstractmethod
    def example_text(self, shot: Fields) -> str:
        """What an answer must not repeat of a worked example."""

    @abstractmethod
    def judge(self, text: str, row: Row) -> Row | str:
        """What is special about the kind: the sample's columns, or the reason why it is none."""

    def finish(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:
        """Each text of an item once, whichever of its prompts it came from."""
        known: set[tuple[str, str, Any]] = set()
        kept = []
        for row in rows:
            key = (row["item_id"], row["text"], row.get("label"))
            if key in known:
                dropped["duplicate"] += 1
            else:
                known.add(key)
                kept.append(row)
        return kept


def _shown(text: str, chars: int) -> tuple[str, bool]:
    """An item's line in a prompt, and whether its text speaks to a model."""
    return clean(text, chars), gives_orders(text)


@cache
def shipped_examples(name: str) -> tuple[Row, ...]:
    """Hand-written examples of `prompts/NAME.jsonl`."""
    return tuple(json.loads(line) for line in prompt_file(f"{name}.jsonl").splitlines())


def about(text: str, row: Row) -> float:
    """Share of the text's content words that its item's own text has."""
    said = content_words(text)
    known = content_words(f"{row['title']} {row['source']}")
    return round(len(said & known) / max(1, len(said)), 3)
