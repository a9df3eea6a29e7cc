"""Reading what a server of OpenAI's /v1/completions answers, whatever it answers."""

from __future__ import annotations

import logging
import math
from typing import Any

from nightshift.generate.engines.base import Sampling, first_line

log = logging.getLogger("nightshift.generate")

_CHARS_A_TOKEN = 100
"""No vocabulary has longer tokens of text; more is not what was asked for."""
_USUAL_CHARS_A_TOKEN = 4
"""For servers that do not say what an answer took."""
_MOST_TOKENS = 100_000_000
"""No context is that long: who bills more for one answer has not counted."""

_LARGEST = 1e9
"""Of a log-probability or a place in a text, either sign."""


class Garbled(Exception):
    """The reply is not what the protocol says; asked again, it may be."""


def sendable(text: str) -> str:
    """JSON is UTF-8: a lone surrogate becomes a question mark."""
    return text.encode(errors="replace").decode()


def choices_of(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """The reply's choices in their order.

    Raises:
        Garbled: it is no completion.
    """
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Garbled
    if not all(isinstance(choice, dict) and "text" in choice for choice in choices):
        raise Garbled
    indices = [choice.get("index", 0) for choice in choices]
    if not all(isinstance(index, int) for index in indices):
        raise Garbled
    return [choices[i] for i in sorted(range(len(choices)), key=lambda i: indices[i])]


def text_of(choice: dict[str, Any], sampling: Sampling) -> str:
    text = choice["text"]
    if not isinstance(text, str) or len(text) > sampling.max_new_tokens * _CHARS_A_TOKEN:
        log.warning("a server's answer is %s: taken as empty", _kind(text))
        return ""
    return first_line(sendable(text))


def _kind(text: Any) -> str:
    return f"{len(text):,} characters long" if isinstance(text, str) else type(text).__name__


def count_of(used: Any, name: str, text: str) -> int:
    """Tokens as the server counts them, else by the length of the text."""
    count = used.get(name) if isinstance(used, dict) else None
    if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_TOKENS:
        return count
    return math.ceil(len(text) / _USUAL_CHARS_A_TOKEN)


def score_of(reply: dict[str, Any], start: int, end: int) -> float | None:
    """The sum over the tokens with a character in [start, end) of the text; None: it has none.

    A token across `start` counts: no other has the continuation's first characters.

    Raises:
        Garbled: it is no completion, or its log-probabilities are no numbers.
    """
    logprobs = choices_of(reply)[0].get("logprobs")
    if not isinstance(logprobs, dict):
        return None
    offsets, values = logprobs.get("text_offset"), logprobs.get("token_logprobs")
    if not isinstance(offsets, list) or not isinstance(values, list):
        return None
    if len(offsets) != len(values) or not all(map(_is_number, offsets)):
        raise Garbled
    ends = [*offsets[1:], math.inf]
    inside = [
        value
        for value, begins, stops in zip(values, offsets, ends, strict=True)
        if stops > start and begins < end
    ]
    if not inside or None in inside:
        return None
    if not all(map(_is_number, inside)):
        raise Garbled
    return float(sum(inside))


def _is_number(value: Any) -> bool:
    """Finite, and of a size that sums can be made of: JSON's integers have no end, NaN is read."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and -_LARGEST <= value <= _LARGEST
