"""One slip of the finger in a query: what a customer typed, not what was meant.

Four single edits make up most misspellings (Damerau, 1964: a letter too many, one too few, a wrong
one, two in the wrong order). Which one, and where, is a function of a hash.
"""

from __future__ import annotations

from nightshift.generate.hashing import seed_of
from nightshift.generate.text.cleaning import words

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_MIN_LETTERS = 5
"""Shorter words are rarely misspelt, and hard to guess when they are."""


def misspell(query: str, *key: object) -> str:
    """The query with one edit in its longest word; unchanged when all its words are short.

    First letters, numbers and their units stay as they are.

    >>> misspell("green peppers", 0)
    'green pepeprs'
    """
    draw = seed_of(query, *key)
    candidates = [w for w in words(query) if len(w) >= _MIN_LETTERS and w.isascii() and w.isalpha()]
    if not candidates:
        return query
    word = max(candidates, key=len)
    place = 1 + draw % (len(word) - 2)  # never the first letter
    edits = [e for e in _edits(word, place) if e != word]
    return query.replace(word, edits[draw // len(word) % len(edits)], 1)


def _edits(word: str, place: int) -> list[str]:
    head, letter, following, tail = word[:place], word[place], word[place + 1], word[place + 2 :]
    return [
        head + following + letter + tail,
        head + following + tail,
        head + letter + letter + following + tail,
        head + _neighbour(letter) + following + tail,
    ]


def _neighbour(letter: str) -> str:
    """The key beside it on a QWERTY keyboard."""
    row = next(row for row in _KEYS if letter in row)
    place = row.index(letter)
    return row[place + 1] if place + 1 < len(row) else row[place - 1]
