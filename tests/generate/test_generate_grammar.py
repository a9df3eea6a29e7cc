"""Patterns as llama.cpp's grammars: said exactly, or not at all."""

from __future__ import annotations

import re

import pytest

from nightshift.generate.engines.grammar import gbnf


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(yes|no)", '("yes" | "no")'),
        ("^[A-B]$", "[A-B]"),
        (r"\d{1,3} (kg|g)?", '[0-9]{1,3} " " ("kg" | "g")?'),
        ("(ab)+c*", '("ab")+ ("c")*'),
        ('say "hi"\\\\', '"say \\"hi\\"\\\\"'),
        ("[^,]{2,}", "[^,\\n]{2,}"),
        ("a.b", '"a" [^\\n] "b"'),
        (r"[\w'-]+", "[a-zA-Z0-9_'\\U0000002D]+"),
        ("é[à-ü]", '"é" [\\U000000E0-\\U000000FC]'),
        ("a|b|cd", '("a" | "b" | "cd")'),
        ("", '""'),
    ],
)
def test_what_both_can_say(pattern: str, said: str) -> None:
    assert gbnf(pattern) == f"root ::= {said}"


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)b", "a(?!b)", r"\bword\b", "a^b", "(?i:a)", "(?i)a", "(", "[^\\d]"]
)
def test_what_a_grammar_cannot_say_is_left_to_the_parser(pattern: str) -> None:
    assert gbnf(pattern) is None


def test_classes_are_of_ascii_so_that_the_pattern_matches_what_comes() -> None:
    grammar = gbnf(r"\w\s\d")
    assert grammar == "root ::= [a-zA-Z0-9_] [ \\t] [0-9]"
    assert re.fullmatch(r"\w\s\d", "a 1")
