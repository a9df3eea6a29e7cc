"""Examples of search queries, and the strict reading of what a model writes as one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache

from nightshift.generate.cleaning import has_personal_data, words
from nightshift.generate.templates import prompt_file

MAX_CHARS = 60
MAX_WORDS = 8
_MIN_LETTERS = 3
_MIN_COPY = 5
"""This many words verbatim from the product in a row are a copy of its text, not a search."""
_NUMBER = re.compile(r"\d+")
_PLAIN = re.compile(r"[\w\s'’&%.,+/()-]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """A product as a prompt shows it, and what somebody typed to find it."""

    text: str
    query: str


@cache
def shipped_pairs() -> tuple[Pair, ...]:
    """Hand-written pairs over many kinds of shops, for a shop without a search log."""
    lines = prompt_file("query_pairs.jsonl").splitlines()
    return tuple(Pair(**json.loads(line)) for line in lines)


def read_query(raw: str, text: str, title: str, shots: list[Pair]) -> tuple[str | None, str]:
    """What a model wrote behind a prompt, as a query.

    Args:
        raw: the continuation, one line.
        text: the product as the prompt showed it.
        title: its full title, which a query must not merely repeat.

    Returns:
        The query and "", or None and the reason why it is none.
    """
    query = " ".join(raw.split()).strip("\"'«»“”.,;- ").lower()
    tokens = words(query)
    reason = ""
    if sum(c.isalpha() for c in query) < _MIN_LETTERS:
        reason = "empty"
    elif len(query) > MAX_CHARS or len(tokens) > MAX_WORDS:
        reason = "too_long"
    elif has_personal_data(query):
        reason = "personal_data"
    elif not _PLAIN.fullmatch(query) or "search" in tokens or "product" in tokens:
        reason = "not_a_query"
    elif len(set(tokens)) * 3 < len(tokens) * 2:
        reason = "repetition"
    elif query in {shot.query for shot in shots}:
        reason = "leaked_example"
    elif set(_NUMBER.findall(query)) - set(_NUMBER.findall(f"{text} {title}")):
        reason = "invented_number"
    elif tokens in (words(title), words(text)) or _copies(tokens, words(text)):
        reason = "copy_of_title"
    return (None, reason) if reason else (query, "")


def _copies(tokens: list[str], source: list[str]) -> bool:
    n = len(tokens)
    return n >= _MIN_COPY and any(source[i : i + n] == tokens for i in range(len(source) - n + 1))
