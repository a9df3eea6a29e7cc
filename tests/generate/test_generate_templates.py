"""Each prompt as a model sees it, against an approved text.

A change of a template is approved by hand: `python tests/generate/test_generate_templates.py`
writes the approved texts anew; what changed is in the diff. Nothing else does.
"""

from __future__ import annotations

import string
from importlib.resources import files
from pathlib import Path

import pytest

from nightshift.generate.text.templates import Template, template

APPROVED = Path(__file__).parent / "rendered"
SHOWN = {  # field -> what stands for it, in two examples and in the question
    "text": ("ceramic mug blue 350 ml", "cotton towel grey", "led desk lamp 10 w"),
    "query": ("blue mug", "bath towel", ""),
    "stars": ("5", "1", "3"),
    "mood": ("delighted", "very disappointed", "mixed feelings"),
    "review": ("A lovely mug.", "The towel is rough.", ""),
    "more": ("long evenings.", "the beach.", ""),
    "paraphrase": ("a blue mug of 350 ml", "a grey towel of cotton", ""),
    "segment": ("students", "families", "all customers"),
    "line": ("A mug for late nights.", "A towel for all.", ""),
}


def names() -> list[str]:
    folder = files("nightshift.generate") / "prompts"
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".txt"))


def render(prompt: Template) -> str:
    parts = (prompt.opening, prompt.example, prompt.question)
    known = {name for part in parts for _, name, _, _ in string.Formatter().parse(part) if name}
    fields = [{n: SHOWN.get(n, (f"[{n}]",) * 3)[i] for n in sorted(known)} for i in range(3)]
    return (
        f"{prompt.name}, version {prompt.version}, {prompt.digest}\n{'-' * 72}\n"
        f"{prompt.prefix(fields[:2])}{prompt.prompt(fields[2])}\n"
    )


@pytest.mark.parametrize("name", names())
def test_a_template_is_what_was_approved(name: str) -> None:
    approved = (APPROVED / f"{name}.txt").read_text(encoding="utf-8")
    assert render(template(name)) == approved


@pytest.mark.parametrize("name", names())
def test_a_template_stops_where_the_model_goes_on(name: str) -> None:
    prompt = template(name)
    assert prompt.version.isdigit()
    assert prompt.question == prompt.question.rstrip()
    assert prompt.question.count("\n\n") == 0
    # The question is the example up to where the answer begins.
    assert prompt.example.startswith(prompt.question)
    assert prompt.example.endswith("\n\n")


def test_nothing_approved_is_left_over() -> None:
    assert {path.stem for path in APPROVED.glob("*.txt")} == set(names())


if __name__ == "__main__":
    APPROVED.mkdir(exist_ok=True)
    for each in names():
        (APPROVED / f"{each}.txt").write_text(render(template(each)), encoding="utf-8")
