"""Descriptions by a language model: the shop's facts word for word, and what they are good for.

The answer is begun with the item's own text, which a small model would otherwise not repeat
without losing a number, and the model goes on with use and occasion. Nothing that it adds may be
a number, an attribute or a name that the item's text does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.generate.strategies.bases.item_texts import ItemTexts, about, shipped_examples
from nightshift.generate.strategies.bases.prompted import Row
from nightshift.generate.text.templates import Fields
from nightshift.text.claims import claim
from nightshift.text.grounding import content_words, lost_fact

_LEAD = "for"
"""What the template begins the addition with: use and occasion, where numbers are rare."""
_MIN_NEW = 2
"""Content words that a description adds, at least."""


class LlmDescriptions(ItemTexts):
    name = "llm_descriptions"
    version = "1"
    produces = "description"
    prompt_name = "descriptions"
    shown_chars = 160
    min_words = 2

    def examples(self) -> tuple[Sequence[Fields], str]:
        return shipped_examples("description_examples"), "shipped"

    def example_text(self, shot: Fields) -> str:
        return shot["more"]

    def borrows(self, text: str, source: str, shots: Sequence[Fields]) -> bool:  # noqa: ARG002
        """The subject is the item's own text here, and a cup may well be for coffee."""
        return False

    def judge(self, text: str, row: Row) -> Row | str:
        if len(content_words(text) - content_words(row["source"])) < _MIN_NEW:
            return "nothing_new"
        if claim(text, row["source"]):
            return "claim"
        whole = f"{row['text'].rstrip(' .,;')}, {_LEAD} {text}"
        lost = lost_fact(whole, row["title"])
        if lost:
            return lost
        return {"text": whole, "scores": {"from_text": about(whole, row)}}
