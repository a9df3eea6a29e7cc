"""Interest profiles: worked examples, and the strict reading of what a model writes as one.

A profile is a short list of interests. Each of them has to be supported by the history that the
prompt showed: by its words, or by being close to one of its items. What is not is taken out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from nightshift.generate.text.cleaning import gives_orders, has_personal_data, words
from nightshift.generate.text.templates import Fields, prompt_file

MAX_INTERESTS = 6
_MAX_CHARS = 200
_MAX_WORDS = 5
"""Of one interest."""
_MIN_LETTERS = 2
_MIN_COPY = 4
"""So many words of an item in a row are its title, not an interest."""
_STEM = 4
"""Words are the same to the eye that begin with so many equal letters (bake, baking: not yet)."""
_WORD = r"""[^ \t\r\n0-9!"#$*,:;<=>?@\[\\\]^_`{|}~]+"""
"""Of an interest, in any script."""
_INTEREST = f"( {_WORD}){{1,{_MAX_WORDS}}}"
PROFILE_PATTERN = f"{_INTEREST}(,{_INTEREST}){{0,{MAX_INTERESTS - 1}}}"
"""A line behind a prompt that can be interests."""
_PLAIN = re.compile(r"[\w\s'’&%/().+\-]+")
_LABELS = {"bought", "interests", "interest", "customer", "customers"}
_EMPTY_WORDS = {
    "and",
    "any",
    "for",
    "from",
    "items",
    "kinds",
    "other",
    "products",
    "set",
    "the",
    "with",
}


@cache
def shipped_profiles() -> tuple[Fields, ...]:
    """Hand-written histories with their interests, over many kinds of shops."""
    lines = prompt_file("profile_pairs.jsonl").splitlines()
    return tuple(dict(json.loads(line)) for line in lines)


def read_interests(
    raw: str, shown: Sequence[str], shots: Sequence[Fields]
) -> tuple[list[str], str]:
    """What a model wrote behind a prompt, as interests.

    Args:
        raw: the continuation, one line.
        shown: the lines of the history in the prompt.
        shots: the examples in it.

    Returns:
        The interests and "", or none and the reason why it is no profile.
    """
    line = " ".join(raw.split()).lower()
    if sum(c.isalpha() for c in line) < _MIN_LETTERS:
        return [], "empty"
    if len(line) > _MAX_CHARS:
        return [], "too_long"
    if has_personal_data(line):
        return [], "personal_data"
    if gives_orders(line) or _LABELS & set(words(line)):
        return [], "not_a_profile"
    if line.strip(". ") in {shot["interests"] for shot in shots}:
        return [], "leaked_example"
    entries = dict.fromkeys(entry.strip(" .'\"«»“”-") for entry in re.split(r"[,،、，;]", line))
    sound = [e for e in entries if _is_interest(e, shown) and not _cut_off(e, entries)]
    return (sound[:MAX_INTERESTS], "") if sound else ([], "no_interest")


def _is_interest(entry: str, shown: Sequence[str]) -> bool:
    tokens = words(entry)
    if not content_words(entry) or len(tokens) > _MAX_WORDS or len(set(tokens)) < len(tokens):
        return False
    if not _PLAIN.fullmatch(entry) or any(map(str.isdigit, entry)):
        return False
    return not any(_copies(tokens, words(line)) for line in shown)


def _cut_off(entry: str, entries: Iterable[str]) -> bool:
    """The beginning of a word of another one: there the model ran out of tokens."""
    return any(o.startswith(entry) and o[len(entry) : len(entry) + 1].isalpha() for o in entries)


def _copies(tokens: list[str], source: list[str]) -> bool:
    n = len(tokens)
    return n >= _MIN_COPY and any(source[i : i + n] == tokens for i in range(len(source) - n + 1))


def content_words(entry: str) -> list[str]:
    """Its words that say something."""
    return [w for w in words(entry) if w not in _EMPTY_WORDS and sum(map(str.isalpha, w)) > 1]


def word_support(entry: str, shown: Sequence[str]) -> float:
    """The share of the content words that the history says too, up to their endings."""
    said = {word for line in shown for word in words(line)}
    content = content_words(entry)
    return sum(any(_alike(word, other) for other in said) for word in content) / len(content)


def _alike(word: str, other: str) -> bool:
    """Equal, or of one stem: "candles" and "candle", "make" and "makeup" are; "car", "cart" not."""
    shorter = min(len(word), len(other))
    return word == other or (shorter >= _STEM and word[:shorter] == other[:shorter])


def supported(
    entries: npt.NDArray[np.float32],
    shares: npt.NDArray[np.float64],
    history: npt.NDArray[np.float32],
    min_similarity: float,
) -> npt.NDArray[np.bool_]:
    """Which interests the history supports: by all their words, or close to one of its items.

    Args:
        entries: unit vectors of the interests, [interests, width].
        shares: their `word_support`, [interests].
        history: unit vectors of the items shown, [items, width].
    """
    nearest = (entries @ history.T).max(axis=1)
    found: npt.NDArray[np.bool_] = (shares == 1.0) | (nearest >= min_similarity)
    return found
