"""Regular expressions as llama.cpp's grammars (GBNF), as far as both can say it."""

from __future__ import annotations

import re
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_CLASSES = {
    ops.CATEGORY_DIGIT: "0-9",
    ops.CATEGORY_WORD: "a-zA-Z0-9_",
    ops.CATEGORY_SPACE: " \\t",
}
"""Of ASCII, where Python's are of Unicode: what the grammar lets through, the pattern matches."""


def whole_line(pattern: str) -> str:
    """The pattern of a line, and the break that ends it: a model that may not write one runs on."""
    return f"({pattern})\\n?"


class _Unsayable(Exception):
    """GBNF has no such thing."""


def gbnf(pattern: str) -> str | None:
    """A grammar whose every text matches the pattern; None: it cannot be said.

    Said are characters, classes, `.`, groups, alternatives and repetitions; not look-arounds,
    back-references and anchors inside. Anchors at the ends say nothing more: it is the whole line.

    >>> gbnf("(red|blue) [a-z]{2,}")
    'root ::= ("red" | "blue") " " [a-z]{2,}'
    """
    try:
        parsed = parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            return None  # such as (?i)
        tokens = list(parsed)
        if tokens and tokens[0] in _STARTS:
            tokens = tokens[1:]
        if tokens and tokens[-1] in _STOPS:
            tokens = tokens[:-1]
        return f"root ::= {_sequence(tokens)}"
    except (_Unsayable, re.error):
        return None


_STARTS = [(ops.AT, ops.AT_BEGINNING), (ops.AT, ops.AT_BEGINNING_STRING)]
_STOPS = [(ops.AT, ops.AT_END), (ops.AT, ops.AT_END_STRING)]


def _sequence(tokens: Any) -> str:
    parts: list[str] = []
    literal = ""
    for op, value in tokens:
        if op is ops.LITERAL:
            literal += chr(value)
            continue
        if literal:
            parts.append(_quoted(literal))
            literal = ""
        parts.append(_one(op, value))
    if literal:
        parts.append(_quoted(literal))
    return " ".join(parts) or '""'


def _one(op: Any, value: Any) -> str:
    if op is ops.ANY:
        return "[^\\n]"
    if op is ops.NOT_LITERAL:
        return f"[^{_in_class(value)}\\n]"
    if op is ops.IN:
        return _class(value)
    if op is ops.BRANCH:
        return f"({' | '.join(_sequence(branch) for branch in value[1])})"
    if op is ops.SUBPATTERN:
        _, added, removed, inside = value
        if added or removed:
            raise _Unsayable  # flags
        said = _sequence(inside)
        return said if said.startswith("(") and len(inside) == 1 else f"({said})"
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        least, most, inside = value
        what = _sequence(inside)
        if len(inside) > 1 or what.startswith('"'):
            what = f"({what})"
        return what + _times(least, most)
    raise _Unsayable


def _times(least: int, most: Any) -> str:
    if most is ops.MAXREPEAT:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return "?" if (least, most) == (0, 1) else f"{{{least},{most}}}"


def _class(members: Any) -> str:
    said = ""
    negated = False
    for op, value in members:
        if op is ops.NEGATE:
            negated = True
        elif op is ops.LITERAL:
            said += _in_class(value)
        elif op is ops.RANGE:
            said += f"{_in_class(value[0])}-{_in_class(value[1])}"
        elif op is ops.CATEGORY and value in _CLASSES and not negated:
            said += _CLASSES[value]
        else:
            raise _Unsayable
    return f"[^{said}\\n]" if negated else f"[{said}]"


def _in_class(code: int) -> str:
    return f"\\U{code:08X}" if chr(code) in '^]-\\"' or code < 32 or code > 126 else chr(code)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
