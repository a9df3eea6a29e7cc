"""Any server with OpenAI's /v1/completions: vLLM, llama.cpp, SGLang, Ollama, a bought API.

Every prompt is a request of its own with a seed of its own, so an answer does not depend on who is
asked about beside it. What goes wrong: `http_client.py` says what is asked again. A reply of the
wrong shape is asked again, too. In a sound reply a text that is null, no text at all or longer than
so many tokens can be is an empty answer (the same seed would give it again); strategies count it as
one that does not parse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from nightshift.errors import EngineError
from nightshift.generate.engines.base import (
    Engine,
    Generated,
    Interrupted,
    Sampling,
    prompt_hash,
)
from nightshift.generate.engines.completions import (
    Garbled,
    choices_of,
    count_of,
    score_of,
    sendable,
    text_of,
)
from nightshift.generate.engines.grammar import gbnf, whole_line
from nightshift.generate.engines.http_client import JsonClient, Refused
from nightshift.manifest import digest_of
from nightshift.settings import Settings

_SEED_BITS = 31
_BY_HEART = " red house over there"
_BY_HEART_AT_LEAST = -3.0
"""A word of it, when it comes for the fourth time: SmolLM2-135M gives -0.6; one place off, -6."""
_STABLE = ("id", "root", "parent", "owned_by", "meta")
"""What /v1/models says of a model itself; the rest changes with every start or question."""
_NO_SUCH_LIST = {404, 405}
"""Completions without a list of models; a refused key is told as such."""

T = TypeVar("T")
Texts = tuple[list[str], tuple[int, int]]


class OpenAIEngine(Engine):
    """A server that speaks OpenAI's completions protocol.

    Raises:
        EngineError: `generate.engine.url` is not set.
    """

    name = "openai"

    def __init__(self, settings: Settings) -> None:
        self._own = settings.generate.engine
        if self._own.url is None:
            raise EngineError(
                "generate.engine.name is openai, but there is no URL.",
                hint="set generate.engine.url to where the API begins, such as "
                "http://127.0.0.1:8000/v1",
            )
        self._url = self._own.url.rstrip("/")
        self._scores_checked = False

    @cached_property
    def _served(self) -> dict[str, Any]:
        """The model, as far as it stays the same.

        The settings' word where they name it: then a chunk is found in the lake while the server is
        down, or behind a gateway that lists no models. Else what the server says.
        """
        if self._own.model_name is not None:
            return {"id": self._own.model_name}
        try:
            with JsonClient(self._own) as client:
                models = client.ask("models").get("data")
        except Refused as error:
            if error.status not in _NO_SUCH_LIST:
                raise
            models = None
        listed = [m for m in models if isinstance(m, dict)] if isinstance(models, list) else []
        names = [str(model.get("id")) for model in listed]
        if len(names) != 1:
            raise EngineError(
                f"{self._url} serves {', '.join(names[:5]) or 'nothing that it names'}.",
                hint="set generate.engine.model_name to the model to ask for",
            )
        return {name: listed[0][name] for name in _STABLE if name in listed[0]} | {"id": names[0]}

    @property
    def _model_name(self) -> str:
        return str(self._served["id"])

    @property
    def _server(self) -> str:
        """Which API it is: one host may have several, each under a path of its own."""
        parts = urlsplit(self._url)
        return parts.netloc + parts.path

    @cached_property
    def identity(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "version": "completions",
            "compute_type": "remote",
            "server": self._server,
            "model": self._served,
            "structured": self._own.structured,
            "top_k": self._own.send_top_k,
        }

    @property
    def model(self) -> dict[str, str]:
        where = {"server": self._server, "model": self._model_name}
        return {"name": self._model_name, "digest": digest_of(where)}

    def independent(self, sampling: Sampling) -> bool:  # noqa: ARG002
        return True

    def constrains(self, sampling: Sampling) -> bool:
        return bool(self._shape(sampling))

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        if not prompts:
            return Generated([], 0)
        asked = [sendable(prefix + prompt) for prompt in prompts]
        bodies = [(prompt, self._body(prompt, sampling)) for prompt in asked]
        answers = self._all(lambda client, one: self._ask(client, one[0], one[1], sampling), bodies)
        parts = tuple(part for _, part in answers)
        return Generated(
            [texts for texts, _ in answers],
            sum(written for written, _ in parts),
            sum(read for _, read in parts),
            tokens_of=parts,
        )

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        pairs = zip(map(sendable, prompts), map(sendable, continuations), strict=True)
        self._check_scores()
        scores = self._all(lambda client, pair: self._score(client, *pair), list(pairs))
        return np.array(scores, dtype=np.float64)

    def _all(self, ask: Callable[[JsonClient, Any], T], questions: Sequence[Any]) -> list[T]:
        """`ask` of every question, `concurrency` at the same time, in their order.

        Raises:
            Interrupted: one failed for good, or this process was told to stop; what came is in it,
                and its cause is what stopped it.
        """
        asked: dict[int, Future[T]] = {}
        stopped: BaseException | None = None
        with JsonClient(self._own) as client, ThreadPoolExecutor(self._own.concurrency) as pool:
            try:
                for place, question in enumerate(questions):
                    asked[place] = pool.submit(ask, client, question)
                wait(asked.values(), return_when=FIRST_EXCEPTION)
                stopped = next(filter(None, map(_failure, asked.values())), None)
            except BaseException as error:  # handed on below, when those under way have ended
                stopped = error
            if stopped is not None:
                client.stop()
                for future in asked.values():
                    future.cancel()
        if stopped is None:
            return [future.result() for future in asked.values()]
        came = {
            place: future.result()
            for place, future in asked.items()
            if future.done() and not future.cancelled() and future.exception() is None
        }
        raise Interrupted(self._said(stopped), came) from stopped

    def _said(self, error: BaseException) -> EngineError:
        if isinstance(error, EngineError):
            return error
        return EngineError(
            f"Asking {self._url} was stopped by {type(error).__name__}.",
            hint="what was answered is kept: run again",
        )

    def _ask(
        self, client: JsonClient, prompt: str, body: dict[str, Any], sampling: Sampling
    ) -> Texts:
        """The continuations of one prompt. Servers that know no `n` are asked again for the rest,
        under another seed."""
        texts: list[str] = []
        written, read = 0, 0
        while len(texts) < sampling.count:
            seed = prompt_hash(sampling.seed, prompt, str(len(texts))) >> (64 - _SEED_BITS)
            lacking = sampling.count - len(texts)
            reply, choices = self._completion(
                client,
                body | {"seed": seed, "n": lacking},
                lambda reply: (reply, choices_of(reply)),
            )
            used = reply.get("usage")
            found = [text_of(choice, sampling) for choice in choices[:lacking]]
            texts += found
            written += count_of(used, "completion_tokens", "".join(found))
            read += count_of(used, "prompt_tokens", prompt)
        return texts, (written, read)

    def _body(self, prompt: str, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model_name,
            "prompt": prompt,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": 1.0,
            "stop": ["\n"],
        }
        if self._own.send_top_k:  # and min_p, which some servers set unasked
            body |= {"top_k": sampling.top_k, "min_p": 0.0}
        return body | self._shape(sampling)

    def _shape(self, sampling: Sampling) -> dict[str, Any]:
        """The pattern, as the server takes it; nothing where it takes none."""
        if sampling.pattern is None or self._own.structured == "none":
            return {}
        line = whole_line(sampling.pattern)
        if self._own.structured == "vllm":
            return {"structured_outputs": {"regex": line}}
        grammar = gbnf(line)
        return {} if grammar is None else {"grammar": grammar}

    def _completion(
        self, client: JsonClient, body: dict[str, Any], read: Callable[[dict[str, Any]], T]
    ) -> T:
        """What `read` makes of a reply; one that is Garbled is asked for again."""
        for _ in range(self._own.max_retries + 1):
            reply = client.ask("completions", body)
            try:
                return read(reply)
            except Garbled:
                continue
        raise EngineError(
            f"{self._url}/completions answers with JSON that is no completion, "
            f"{self._own.max_retries + 1} times.",
            hint="is it a server with OpenAI's /v1/completions? generate.engine.url",
        )

    def _check_scores(self) -> None:
        """Some servers give each token the log-probability of another place (llama-cpp-python up to
        0.3.36 at least): what any model knows by heart would then be unlikely."""
        if self._scores_checked:
            return
        with JsonClient(self._own) as client:
            mean = self._score(client, _BY_HEART * 3, _BY_HEART) / _BY_HEART.count(" ")
        if mean < _BY_HEART_AT_LEAST:
            raise self._no_scores(f"they are of other tokens than they say ({mean:.1f} a word)")
        self._scores_checked = True

    def _score(self, client: JsonClient, prompt: str, continuation: str) -> float:
        body = {
            "model": self._model_name,
            "prompt": prompt + continuation,
            "max_tokens": 1,  # 0 is no limit for some servers; the new token is not looked at
            "temperature": 0,
            "logprobs": 1,
            "echo": True,
        }
        try:
            score = self._completion(
                client, body, lambda reply: score_of(reply, len(prompt), len(prompt + continuation))
            )
        except Refused as error:
            raise self._no_scores(error.message) from error
        if score is None:
            raise self._no_scores("its answer has none")
        return score

    def _no_scores(self, why: str) -> EngineError:
        return EngineError(
            f"{self._url} gives no log-probabilities of a prompt (echo, logprobs): {why}",
            hint="vLLM does; or set generate.engine.name=ctranslate2 for what needs scores",
        )


def _failure(future: Future[Any]) -> BaseException | None:
    """What it ended with, if it has ended."""
    return future.exception() if future.done() else None
