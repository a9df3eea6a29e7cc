"""Prompt templates: files with a version and a digest.

    prompts/NAME.txt       version: N --- opening --- one worked example --- the question

A template completes a list: an opening, some worked examples, and a last entry that stops where the
model goes on. Fields in braces are filled in by the strategy; what it fills in is cleaned text.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_FOLDER = files("nightshift.generate") / "prompts"
_SPLIT = "---\n"

Fields = Mapping[str, str]
CHARS_PER_TOKEN = 3.5
"""Of shop text with its codes and sizes; plain English has more."""


@dataclass(frozen=True, slots=True)
class Template:
    """A few-shot completion prompt: an opening, a worked example, the question."""

    name: str
    version: str
    digest: str
    opening: str
    example: str
    question: str

    def prefix(self, shots: Sequence[Fields]) -> str:
        """Everything in front of the question: the same for all prompts with these shots."""
        return self.opening + "".join(self.example.format(**shot) for shot in shots)

    @property
    def lineage(self) -> dict[str, Any]:
        """What a sample says of the prompt that it is an answer to."""
        return {
            "prompt": self.name,
            "prompt_version": self.version,
            "prompt_digest": self.digest,
        }

    def prompt(self, fields: Fields) -> str:
        """The question; fields that it does not show are left alone."""
        return self.question.format(**fields)

    def answer(self, fields: Fields) -> str:
        """What a worked example has behind its question, up to where the next entry starts."""
        return self.example.format(**fields).removeprefix(self.prompt(fields))


@cache
def template(name: str) -> Template:
    """The template of `prompts/NAME.txt`."""
    source = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    head, opening, example, question = source.split(_SPLIT)
    return Template(
        name=name,
        version=head.removeprefix("version:").strip(),
        digest=hashlib.sha256(source.encode()).hexdigest()[:16],
        opening=opening,
        example=example,
        question=question.rstrip("\n"),
    )


def tokens_about(chars: float) -> int:
    """So many tokens have about so many characters: where no model counts them."""
    return math.ceil(chars / CHARS_PER_TOKEN)


def prompt_file(name: str) -> str:
    """The text of a file beside the templates, such as hand-written examples."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def prompts_digest() -> str:
    """SHA-256 over every template and every file of examples."""
    state = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir(), key=lambda path: path.name):
        if path.is_file():
            state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
