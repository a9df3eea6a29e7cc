"""The strict reading of what a language model writes as a sentence or two about an item."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nightshift.generate.text.cleaning import gives_orders, has_labels, has_personal_data, words

MAX_CHARS = 300
"""Below what the inspection allows for a text."""
_END = re.compile(r"[.!?…。！？]")
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+")
_OPEN_END = re.compile(
    r"(?:[,;:&(-]|\b(?:a|an|and|as|at|but|by|for|from|in|is|of|on|or|that|the|to|with|your))$",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[<>{}\[\]|\\`*#_~^]|https?:|={2,}|-{3,}")
_LOOP_WORDS = 6
"""Shorter texts may say a word twice."""
_RUN = 5
"""This many words of an example in a row were copied from it."""
_TOKENS_A_WORD = 1.5
"""Fewer than most texts have: a text of that length ended because its tokens did."""


def read_prose(
    raw: str,
    *,
    max_new_tokens: int,
    shown: Sequence[str],
    sentences: int | None = None,
    min_words: int = 4,
) -> tuple[str, str]:
    """A continuation as tidy prose and "", or "" and the reason why it is none.

    A last sentence that the token limit cut off is left out.

    Args:
        shown: texts of the examples in the prompt, which an answer must not repeat.
        sentences: no more than these are taken; a small model wanders off behind them.
    """
    text = _whole_sentences(" ".join(raw.split()).strip("\"“”«»' "), max_new_tokens)
    text = " ".join(_SENTENCE.split(text)[:sentences])
    tokens = words(text)
    reason = ""
    if not tokens:
        reason = "empty" if not raw.strip() else "unfinished"
    elif sum(token.isalpha() for token in tokens) < min_words:
        reason = "too_short"
    elif len(text) > MAX_CHARS:
        reason = "too_long"
    elif has_personal_data(text):
        reason = "personal_data"
    elif gives_orders(text) or has_labels(text) or _MARKUP.search(text):
        reason = "not_prose"
    elif _loops(tokens):
        reason = "repetition"
    elif any(shares_run(tokens, words(example), _RUN) for example in shown):
        reason = "leaked_example"
    return ("", reason) if reason else (text, "")


def _whole_sentences(text: str, max_new_tokens: int) -> str:
    ends = [match.end() for match in _END.finditer(text)]
    if ends and ends[-1] == len(text):
        return text
    open_end = _OPEN_END.search(text) is not None
    if not open_end and len(text.split()) * _TOKENS_A_WORD < max_new_tokens:
        return text  # it stopped by itself, without a full stop
    return text[: ends[-1]] if ends else ""


def _loops(tokens: list[str]) -> bool:
    """Half the words are repeats, or three words in a row come back twice."""
    if len(tokens) >= _LOOP_WORDS and len(set(tokens)) * 2 <= len(tokens):
        return True
    triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return any(triples.count(triple) > 2 for triple in set(triples))


def shares_run(tokens: list[str], source: list[str], n: int) -> bool:
    """Do `n` words in a row of the one stand in the other."""
    runs = {tuple(source[i : i + n]) for i in range(len(source) - n + 1)}
    return any(tuple(tokens[i : i + n]) in runs for i in range(len(tokens) - n + 1))
