"""An engine that remembers, in the lake: the same question to the same model is paid for once.

Where a prompt's answers are its own (`Engine.independent`), the prompt is what is remembered. Where
they depend on who shares the batch, it is the whole call, prompts in their order: so an answer
never depends on what happened to be remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.errors import EngineError
from nightshift.generate.engines.base import Engine, Generated, Interrupted, Sampling
from nightshift.generate.responses import KEY_BYTES, Answer, Responses
from nightshift.lake import Lake
from nightshift.manifest import digest_of

_SCORES = digest_of("scores")[:16]


class CachedEngine(Engine):
    """`engine`, with its answers kept in the lake."""

    def __init__(self, engine: Engine, lake: Lake) -> None:
        self.engine, self._lake = engine, lake
        self.name = engine.name

    @property
    def identity(self) -> dict[str, Any]:
        return self.engine.identity

    @property
    def model(self) -> dict[str, str]:
        return self.engine.model

    def independent(self, sampling: Sampling) -> bool:
        return self.engine.independent(sampling)

    def constrains(self, sampling: Sampling) -> bool:
        return self.engine.constrains(sampling)

    @cached_property
    def _responses(self) -> Responses:
        return Responses(self._lake, digest_of(self.identity))

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        if not prompts:
            return Generated([], 0)
        asked = sampling if self.constrains(sampling) else replace(sampling, pattern=None)
        way: dict[str, Any] = {"sampling": asdict(asked), "prefix": _digest(prefix).hex()}
        if self.independent(sampling):
            keys = [_digest(prompt) for prompt in prompts]
        else:
            call = [_digest(prompt) for prompt in prompts]
            way["call"] = _digest(b"".join(call)).hex()
            keys = [_digest(key + str(place).encode()) for place, key in enumerate(call)]
        folder = digest_of(way)[:16]
        found = self._responses.find(folder, keys)
        lacking = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found
        }
        if lacking and not self.independent(sampling):
            lacking = dict(zip(keys, prompts, strict=True))
        if lacking:
            found |= self._made(lacking, sampling, prefix, folder)
        return _together([found[key] for key in keys], cached=len(keys) - len(lacking))

    def _made(
        self, lacking: dict[bytes, str], sampling: Sampling, prefix: str, folder: str
    ) -> dict[bytes, Answer]:
        """Answers that were not there yet, kept; also those that came before the engine failed."""
        keys = list(lacking)
        try:
            generated = self.engine.generate(list(lacking.values()), sampling, prefix=prefix)
        except Interrupted as stopped:
            if stopped.answered and self.independent(sampling):
                came = {keys[i]: _answer(*one) for i, one in sorted(stopped.answered.items())}
                self._responses.add(folder, came)
            raise _reason(stopped) from stopped
        _check(self.name, len(generated.texts), len(keys))
        parts = generated.tokens_of or _even(generated, len(keys))
        made = {
            key: _answer(texts, part)
            for key, texts, part in zip(keys, generated.texts, parts, strict=True)
        }
        self._responses.add(folder, made)
        return made

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        if not prompts:
            return np.zeros(0)
        pairs = list(zip(prompts, continuations, strict=True))
        keys = [_digest(_digest(prompt) + _digest(behind)) for prompt, behind in pairs]
        found = self._responses.find(_SCORES, keys)
        lacking = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        if lacking:
            keys_lacking = list(lacking)
            try:
                scores = self.engine.score(*map(list, zip(*lacking.values(), strict=True)))
            except Interrupted as stopped:
                came = {keys_lacking[i]: Answer(score=one) for i, one in stopped.answered.items()}
                if came:
                    self._responses.add(_SCORES, came)
                raise _reason(stopped) from stopped
            _check(self.name, len(scores), len(lacking))
            made = {
                key: Answer(score=float(score)) for key, score in zip(lacking, scores, strict=True)
            }
            self._responses.add(_SCORES, made)
            found |= made
        return np.array([found[key].score for key in keys], dtype=np.float64)


def _digest(content: str | bytes) -> bytes:
    data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(data).digest()[:KEY_BYTES]


def _answer(texts: Iterable[str], part: tuple[int, int]) -> Answer:
    """As it is kept: a lone surrogate, which no file can hold, becomes a question mark."""
    storable = tuple(text.encode(errors="replace").decode() for text in texts)
    return Answer(storable, tokens=part[0], prompt_tokens=part[1])


def _together(answers: Sequence[Answer], *, cached: int) -> Generated:
    return Generated(
        [list(answer.texts) for answer in answers],
        sum(answer.tokens for answer in answers),
        sum(answer.prompt_tokens for answer in answers),
        cached,
        tuple((answer.tokens, answer.prompt_tokens) for answer in answers),
    )


def _reason(stopped: Interrupted) -> BaseException:
    """The error alone: what came is kept by now. Who stops the process gets its own signal back."""
    cause = stopped.__cause__
    if cause is not None and not isinstance(cause, Exception):
        return cause
    return EngineError(stopped.message, hint=stopped.hint, **stopped.context)


def _even(generated: Generated, count: int) -> tuple[tuple[int, int], ...]:
    """The sums dealt over the prompts, for an engine that knows no more."""
    dealt = [
        [total // count + (place < total % count) for place in range(count)]
        for total in (generated.tokens, generated.prompt_tokens)
    ]
    return tuple(zip(*dealt, strict=True))


def _check(name: str, got: int, asked: int) -> None:
    if got != asked:
        raise EngineError(
            f"The engine {name} gave {got} answers to {asked} prompts.",
            hint="run again; if it stays so, set another generate.engine.name",
        )
