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


def sendable(text: str) -> str:
    """JSON is UTF-8: a lone surrogate becomes a question mark."""
    return text.encode(errors="replace").decode()


def choices_of(reply: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The reply's choices in their order; None: it is no completion."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        return None
    if not all(isinstance(choice, dict) and "text" in choice for choice in choices):
        return None
    indices = [choice.get("index", 0) for choice in choices]
    if not all(isinstance(index, int) for index in indices):
        return None
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
    if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
        return count
    return math.ceil(len(text) / _USUAL_CHARS_A_TOKEN)


def score_of(logprobs: Any, start: int, end: int) -> float | None:
    """The sum over the tokens with a character in [start, end) of the text; None: there are none.

    A token across `start` counts: no other has the continuation's first characters.
    """
    if not isinstance(logprobs, dict):
        return None
    offsets, values = logprobs.get("text_offset"), logprobs.get("token_logprobs")
    if not isinstance(offsets, list) or not isinstance(values, list):
        return None
    ends = [*offsets[1:], math.inf]
    inside = [
        value
        for value, begins, stops in zip(values, offsets, ends, strict=False)
        if stops > start and begins < end
    ]
    if not inside or not all(isinstance(value, int | float) for value in inside):
        return None
    return float(sum(inside))
