"""Which of two items a customer would take: a language model asked in both orders.

A model that answers by position prefers the first of two, whatever it is. Asked both ways round,
that preference adds the same to both answers and cancels (Zheng et al., 2023, call it position
bias and swap, too); what it was is measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from nightshift.generate.engines.base import Engine
from nightshift.generate.text.templates import Fields, Template, prompt_file, tokens_about

Floats = npt.NDArray[np.float64]

_ANSWERS = (" A", " B")
_ORDERS = 2
_DECIMALS = 4
"""Of a log-probability: the last bits depend on who shares the batch."""
_SHOTS = 2
"""One worked example for each answer, so that none is the likelier one for its number."""


@dataclass(frozen=True, slots=True)
class Question:
    """A history, and the two items between which it decides; all as lines of a prompt."""

    bought: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers to n questions."""

    margin: Floats
    """[n] log-odds of the first item over the second, both orders and all votes averaged."""
    bias: Floats
    """[n] log-odds of the answer A over B that do not depend on what A is."""
    agreement: Floats
    """[n] share of the votes that are on the side of the margin; 0 where there is no side."""
    prompt_tokens: int
    """Read for all of it, by the length of what was asked: an engine does not count what it scores.
    The same questions have the same count, also where the scores were found and not asked for."""


@cache
def shipped_choices() -> tuple[tuple[Fields, ...], tuple[Fields, ...]]:
    """Hand-written choices, those answered A and those answered B."""
    pairs = [dict(json.loads(line)) for line in prompt_file("choice_pairs.jsonl").splitlines()]
    as_a = [{"bought": p["bought"], "a": p["taken"], "b": p["left"], "choice": "A"} for p in pairs]
    as_b = [{"bought": p["bought"], "a": p["left"], "b": p["taken"], "choice": "B"} for p in pairs]
    return tuple(as_a), tuple(as_b)


def judge(
    engine: Engine, template: Template, questions: Sequence[Question], *, votes: int, seed: int
) -> Judged:
    """Ask every question `votes` times in both orders; votes differ by their worked examples.

    Raises:
        EngineError: the model could not be loaded, or the backend failed.
    """
    n, chars = len(questions), 0
    margins, biases = np.zeros((votes, n)), np.zeros((votes, n))
    for vote in range(votes):
        opening = template.prefix(_shots(np.random.default_rng([seed, vote])))
        asked = [opening + _ask(template, q) for q in questions]
        turned = [opening + _ask(template, _swapped(q)) for q in questions]
        straight, swapped = _log_odds(engine, asked), _log_odds(engine, turned)
        chars += _chars_read([*asked, *turned])
        margins[vote], biases[vote] = (straight - swapped) / 2, (straight + swapped) / 2
    margin = margins.mean(axis=0).round(_DECIMALS)
    sides = (np.sign(margins.round(_DECIMALS)) == np.sign(margin)) & (margin != 0)
    bias, agreement = biases.mean(axis=0).round(_DECIMALS), sides.mean(axis=0)
    return Judged(margin, bias, agreement, tokens_about(chars))


def vote_chars(template: Template, question_chars: float) -> float:
    """Characters that a model reads for one vote on a question of that length, about."""
    opening = len(template.prefix(_shots(np.random.default_rng(0))))
    return _ORDERS * len(_ANSWERS) * (opening + question_chars)


def weight_of(margin: Floats) -> Floats:
    """How sure an answer is, 0 to 1: the probability of the winner less that of the loser."""
    certain: Floats = np.tanh(np.abs(margin) / 2).round(_DECIMALS)
    return certain


def _log_odds(engine: Engine, prompts: Sequence[str]) -> Floats:
    """log P(A) - log P(B) behind each prompt: [prompts]."""
    a, b = (engine.score(prompts, [answer] * len(prompts)) for answer in _ANSWERS)
    odds: Floats = a - b
    return odds


def _chars_read(prompts: Sequence[str]) -> int:
    """Each prompt is read once with every answer behind it."""
    return sum(len(prompt) + len(answer) for prompt in prompts for answer in _ANSWERS)


def _ask(template: Template, question: Question) -> str:
    return template.prompt({"bought": question.bought, "a": question.first, "b": question.second})


def _swapped(question: Question) -> Question:
    return Question(question.bought, question.second, question.first)


def _shots(rng: np.random.Generator) -> list[Fields]:
    """As many answered A as answered B, of different customers, in any order."""
    as_a, as_b = shipped_choices()
    chosen = rng.choice(len(as_a), size=_SHOTS, replace=False)
    shots = [(as_a, as_b)[place % 2][i] for place, i in enumerate(chosen)]
    return [shots[i] for i in rng.permutation(len(shots))]
