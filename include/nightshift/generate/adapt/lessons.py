"""What the language model is taught: prompts as the strategies ask them, and good answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from nightshift.errors import BadInput, SettingsError
from nightshift.generate.hashing import stable_hash
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy, needs_model, strategy_names
from nightshift.generate.strategies.bases.prompted import PromptedStrategy
from nightshift.generate.text.cleaning import clean, gives_orders

_TEXT_CHARS = 300
"""Of an item's text in continued pre-training: attributes stand at its beginning."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One prompt with the answer that is learnt; the loss is on the answer alone."""

    strategy: str
    source: str
    """"shop" or "shipped"."""
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Lessons:
    """All of them, apart from those that judge."""

    learnt: list[Lesson]
    held_out: list[Lesson]
    strategies: list[PromptedStrategy]
    """Those whose prompts are learnt."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Pairs by strategy and source."""
        found: dict[str, Counter[str]] = {s.name: Counter() for s in self.strategies}
        for lesson in self.learnt + self.held_out:
            found[lesson.strategy][lesson.source] += 1
        return {name: dict(sorted(counts.items())) for name, counts in found.items()}


def lessons_of(sources: Sources) -> Lessons:
    """Pairs of every strategy that has enough, split by a hash of the answer.

    The same answer is never on both sides: a query that stands with three items is learnt, or it
    judges.

    Raises:
        BadInput: no strategy has enough pairs.
        SettingsError: `adapt.strategies` names something that has no prompts.
    """
    adapt = sources.settings.adapt
    chosen: list[PromptedStrategy] = []
    found: list[Lesson] = []
    for strategy in _strategies(sources):
        pairs = _of(strategy)
        if len(pairs) >= adapt.min_pairs:
            chosen.append(strategy)
            found += pairs
    if not found:
        raise BadInput(
            "There is nothing that the language model could learn: no strategy has "
            f"{adapt.min_pairs} pairs of a product and a text.",
            hint="set adapt.shipped=true, lower adapt.min_pairs, or load searches or reviews",
        )
    judges = _by_hash([lesson.answer for lesson in found], adapt.held_out, adapt.seed)
    return Lessons(
        [lesson for lesson, judge in zip(found, judges, strict=True) if not judge],
        [lesson for lesson, judge in zip(found, judges, strict=True) if judge],
        chosen,
    )


def catalogue_texts(sources: Sources, most: int) -> list[str]:
    """Distinct item texts for continued pre-training, in the order of a hash."""
    items = sources.snapshot.items.lazy().filter(~pl.col("withheld"))
    texts = items.select(pl.col("text").drop_nulls().unique()).collect()["text"]
    order = stable_hash(texts.to_list(), sources.settings.adapt.seed).argsort()
    cleaned = (clean(text, _TEXT_CHARS) for text in texts.gather(order) if not gives_orders(text))
    return [text for text, _ in zip((text for text in cleaned if text), range(most), strict=False)]


def _strategies(sources: Sources) -> list[PromptedStrategy]:
    asked = sources.settings.adapt.strategies
    found = []
    for name in strategy_names() if asked is None else asked:
        if asked is None and not needs_model(name):
            continue
        strategy = create_strategy(name, sources)
        if isinstance(strategy, PromptedStrategy):
            found.append(strategy)
        elif asked is not None:
            raise SettingsError(
                f"adapt.strategies names {name!r}, which asks no language model for a text.",
                hint="leave it out",
            )
    return found


def _of(strategy: PromptedStrategy) -> list[Lesson]:
    adapt, template = strategy.sources.settings.adapt, strategy.template
    opening = template.prefix(())
    return [
        Lesson(
            strategy.name,
            source,
            opening + template.prompt(fields),
            template.answer(fields),
        )
        for source, fields in strategy.lessons(adapt.pairs, shipped=adapt.shipped)
    ]


def _by_hash(answers: Sequence[str], share: float, seed: int) -> list[bool]:
    """For each answer whether it judges: a share of the distinct ones, at least one, never all."""
    distinct = sorted(set(answers))
    if len(distinct) == 1:
        return [False] * len(answers)
    order = stable_hash(distinct, seed).argsort()
    count = min(max(round(share * len(distinct)), 1), len(distinct) - 1)
    judging = {distinct[i] for i in order[:count]}
    return [answer in judging for answer in answers]
