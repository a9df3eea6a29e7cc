"""Descriptions said again: there and back through another language.

With two sequence-to-sequence models (a MarianMT pair, say) this is back-translation (Sennrich,
Haddow & Birch, 2016; as paraphrasing: Mallinson, Sennrich & Lapata, 2017). Without them the
language model of the engine paraphrases instead, and the lineage says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from nightshift.errors import SettingsError
from nightshift.generate.engines.base import Engine
from nightshift.generate.engines.cached import CachedEngine
from nightshift.generate.engines.round_trip import RoundTrip
from nightshift.generate.strategies.base import Price
from nightshift.generate.strategies.bases.item_texts import ItemTexts, about, shipped_examples
from nightshift.generate.strategies.bases.prompted import Row
from nightshift.generate.text.cleaning import words
from nightshift.generate.text.templates import Fields, Template
from nightshift.text.grounding import attributes, content_words, lost_fact

_SECONDS_PER_TOKEN = 0.02
"""Of a translation model of 75 M parameters on a busy core, both ways."""
_PLAIN = Template("round_trip", "1", "none", "", "", "{text}")
"""A translation model is shown the text alone."""
_MIN_KEPT = 0.7
"""Share of the item's words, attributes aside, that come back: fewer is another product."""


class BackTranslation(ItemTexts):
    name = "back_translation"
    version = "1"
    produces = "description"
    prompt_name = "paraphrases"
    shown_chars = 160

    @cached_property
    def _pair(self) -> CachedEngine | None:
        there, back = (
            getattr(self.sources.settings.generate.back_translation, name)
            for name in ("there", "back")
        )
        if there is None and back is None:
            return None
        if there is None or back is None:
            raise SettingsError(
                "generate.back_translation names one model of two.",
                hint="set both there and back, or neither: then the engine paraphrases",
            )
        pair = RoundTrip(there, back, self.sources.settings)
        return CachedEngine(pair, self.sources.lake)

    @property
    def engine(self) -> Engine:
        return self._pair or super().engine

    @property
    def template(self) -> Template:
        return _PLAIN if self._pair else super().template

    def price(self) -> Price:
        if self._pair is None:
            return super().price()
        tokens = 2 * self.own_settings["max_new_tokens"]
        return Price(tokens=tokens, seconds=tokens * _SECONDS_PER_TOKEN)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"way": "round trip" if self._pair else "paraphrase"}

    def examples(self) -> tuple[Sequence[Fields], str]:
        if self._pair:
            return (), "none"
        return shipped_examples("paraphrase_examples"), "shipped"

    def example_text(self, shot: Fields) -> str:
        return shot["paraphrase"]

    def judge(self, text: str, row: Row) -> Row | str:
        if words(text) == words(row["text"]) or words(text) == words(row["title"]):
            return "unchanged"
        lost = lost_fact(text, row["text"])
        if lost:
            return lost
        given = content_words(row["text"]) - set(words(" ".join(attributes(row["text"]))))
        kept = len(given & content_words(text)) / max(1, len(given))
        if kept < _MIN_KEPT:
            return "off_topic"
        return {"text": text, "scores": {"kept": round(kept, 3), "from_text": about(text, row)}}
