"""Asking the same thing more than once, and getting more than one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nightshift.generate.engines.base import Engine, Generated, Sampling
from nightshift.generate.hashing import seed_of


def generate_each(
    engine: Engine, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
) -> Generated:
    """As `engine.generate`; of equal prompts, each is asked with a seed of its own.

    To an engine whose answers are a prompt's own they would be one question with one answer.
    """
    seen: Counter[str] = Counter()
    times = []
    for prompt in prompts:
        times.append(seen[prompt])
        seen[prompt] += 1
    texts: list[list[str]] = [[] for _ in prompts]
    parts = []
    for again in range(max(times, default=-1) + 1):
        places = [i for i, time in enumerate(times) if time == again]
        seed = seed_of(sampling.seed, again) if again else sampling.seed
        found = engine.generate(
            [prompts[i] for i in places], replace(sampling, seed=seed), prefix=prefix
        )
        parts.append(found)
        for i, answers in zip(places, found.texts, strict=True):
            texts[i] = answers
    return Generated(
        texts,
        sum(part.tokens for part in parts),
        sum(part.prompt_tokens for part in parts),
        sum(part.cached for part in parts),
    )
