"""Words that may stand for one another: by WordNet, and by the shop's own vocabulary.

The shop's words are embedded one by one; near words are exchanged for one another unless they
state a fact: red is near to blue, and no synonym of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightshift.generate.neighbours import DECIMALS
from nightshift.generate.text.cleaning import words
from nightshift.generate.text.wordnet import Synonyms
from nightshift.text.attributes import AUDIENCE, CANONICAL, STOP_WORDS, UNITS
from nightshift.text.grounding import stem

_MIN_TEXTS = 3
"""A word of fewer texts may be misspelt, a name, or a code."""
_MIN_CHARS = 4
MOST_WORDS = 3000
"""The most frequent ones: the others stand in few titles."""
_BLOCK = 512
_FACTS = {*CANONICAL, *AUDIENCE, *UNITS, *STOP_WORDS}


def vocabulary(texts: Iterable[str]) -> list[str]:
    """The shop's common words that state no fact, the most frequent first."""
    counts = Counter(word for text in texts for word in set(words(text)))
    kept = [
        word
        for word, count in counts.items()
        if count >= _MIN_TEXTS and len(word) >= _MIN_CHARS and word.isalpha() and word not in _FACTS
    ]
    return sorted(kept, key=lambda word: (-counts[word], word))[:MOST_WORDS]


def near_words(
    known: Sequence[str], vectors: npt.NDArray[np.float32], k: int, min_similarity: float
) -> npt.NDArray[np.int32]:
    """The k nearest other words of each word, best first, -1 where fewer are near: [words, k]."""
    found = np.full((len(known), k), -1, dtype=np.int32)
    stems = np.array([stem(word) for word in known])
    for start in range(0, len(known) if k else 0, _BLOCK):
        block = slice(start, min(start + _BLOCK, len(known)))
        cosines = np.round(vectors[block] @ vectors.T, DECIMALS)
        cosines[stems[block, None] == stems[None, :]] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        close = np.take_along_axis(cosines, order, axis=1) >= min_similarity
        found[block, : order.shape[1]] = np.where(close, order, -1)
    return found


@dataclass(frozen=True, slots=True)
class Exchange:
    """A query said otherwise, and what stands for what in it."""

    said: str
    phrase: str
    other: str
    origin: str  # wordnet, shop


class Exchanges:
    """What a word or a phrase of two words may be exchanged for."""

    def __init__(
        self,
        wordnet: Synonyms,
        known: Sequence[str],
        near: npt.NDArray[np.int32],
        is_common: Callable[[str], bool],
    ) -> None:
        """
        Args:
            known: the shop's words, `near` beside them as of `near_words`.
            is_common: whether people use a word; WordNet has many that they do not.
        """
        self._wordnet, self._is_common = wordnet, is_common
        self._near = {
            word: tuple(known[i] for i in row if i >= 0)
            for word, row in zip(known, near.tolist(), strict=True)
        }

    def of(self, phrase: str) -> Iterator[tuple[str, str]]:
        """Each substitute with its origin, "wordnet" or "shop"; in the number of the phrase."""
        if phrase in _FACTS:
            return
        singular = _singular(phrase)
        for word in self._wordnet.get(phrase, ()):
            if self._common(word):
                yield word, "wordnet"
        if singular != phrase:
            for word in self._wordnet.get(singular, ()):
                if self._common(word):
                    yield _plural(word), "wordnet"
        for word in self._near.get(phrase, ()):
            yield word, "shop"

    def _common(self, phrase: str) -> bool:
        return all(self._is_common(word) for word in words(phrase))

    def said_otherwise(self, query: str) -> list[Exchange]:
        """The query with one word or phrase exchanged, in every way that there is."""
        tokens = query.split()
        found: dict[str, Exchange] = {}
        for length in (2, 1):
            for i in range(len(tokens) - length + 1):
                phrase = " ".join(tokens[i : i + length])
                for other, origin in self.of(phrase):
                    if _same(other, phrase) or set(other.split()) & set(tokens):
                        continue
                    said = " ".join([*tokens[:i], other, *tokens[i + length :]])
                    found.setdefault(said, Exchange(said, phrase, other, origin))
        return list(found.values())


def _same(one: str, other: str) -> bool:
    return [_singular(word) for word in one.split()] == [_singular(word) for word in other.split()]


def _singular(phrase: str) -> str:
    for ending, put in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss")):
        if phrase.endswith(ending):
            return phrase.removesuffix(ending) + put
    return phrase[:-1] if phrase.endswith("s") and not phrase.endswith("ss") else phrase


def _plural(phrase: str) -> str:
    if phrase.endswith("s") and not phrase.endswith("ss"):
        return phrase  # it is one already
    if phrase.endswith(("ss", "x", "ch", "sh")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + "s"
