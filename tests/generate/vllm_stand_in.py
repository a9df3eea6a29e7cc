"""What the engine touches of vLLM 0.33.0, as strict as the real one: it runs on a GPU alone.

The names are copied from its source; `test_the_stand_in_is_as_the_source_says` compares them with
that source where it is at hand.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

VERSION = "0.33.0"
LLM_ARGUMENTS = ("model", "dtype", "gpu_memory_utilization")
"""Of LLM.__init__; what it does not name itself goes on to EngineArgs."""
ENGINE_ARGUMENTS = ("enable_prefix_caching",)
GENERATE_ARGUMENTS = ("prompts", "sampling_params", "use_tqdm")
SAMPLING_FIELDS = (
    *("n", "temperature", "top_k", "seed", "max_tokens", "stop", "stop_token_ids"),
    *("structured_outputs", "prompt_logprobs"),
)
STRUCTURED_FIELDS = ("regex",)
OUTPUT_FIELDS = ("index", "text", "token_ids")
RESULT_FIELDS = ("prompt_logprobs", "outputs")


class SamplingParams:
    def __init__(self, **given: Any) -> None:
        unknown = set(given) - set(SAMPLING_FIELDS)
        if unknown:
            raise TypeError(f"Unexpected keyword argument {unknown}")  # as msgspec does
        self.n, self.temperature, self.top_k, self.seed = 1, 1.0, 0, None
        self.max_tokens, self.prompt_logprobs, self.structured_outputs = 16, None, None
        self.__dict__.update(given)
        if not isinstance(self.n, int) or self.n < 1:
            raise ValueError("n must be at least 1")
        if self.temperature < 1e-5 and self.n > 1:
            raise ValueError(f"n must be 1 when using greedy sampling, got {self.n}.")
        if self.top_k < -1:
            raise ValueError("top_k must be 0 (disable), or at least 1")


@dataclass
class StructuredOutputsParams:
    regex: str | None = None


@dataclass
class Logprob:
    logprob: float


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]


@dataclass
class RequestOutput:
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput] = field(default_factory=list)


class EngineDeadError(Exception):
    """As in vllm.v1.engine.exceptions: neither a RuntimeError nor a ValueError."""


class LLM:
    made: list[dict[str, Any]]
    asked: list[tuple[list[dict[str, Any]], list[SamplingParams]]]
    dies: bool

    def __init__(self, model: str, **given: Any) -> None:
        unknown = set(given) - set(LLM_ARGUMENTS) - set(ENGINE_ARGUMENTS)
        if unknown:
            raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument {unknown}")
        LLM.made.append({"model": model, **given})

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Texts that name the seed, in the wrong order; -1 for every token of a prompt."""
        if LLM.dies:
            raise EngineDeadError("EngineCore encountered an issue. See stack trace (above).")
        assert len(prompts) == len(sampling_params)
        assert all(set(p) == {"prompt_token_ids"} and p["prompt_token_ids"] for p in prompts)
        LLM.asked.append((prompts, sampling_params))
        return [
            self._one(p["prompt_token_ids"], s)
            for p, s in zip(prompts, sampling_params, strict=True)
        ]

    def _one(self, ids: list[int], params: SamplingParams) -> RequestOutput:
        # As vLLM does: the seed of a continuation is its prompt's plus its number.
        outputs = [
            CompletionOutput(i, f" seed {(params.seed or 0) + i}", [5, 6, 7])
            for i in range(params.n)
        ]
        logprobs: list[dict[int, Logprob] | None] | None = None
        if params.prompt_logprobs is not None:
            logprobs = [None] + [{i: Logprob(-1.0), -1: Logprob(-0.5)} for i in ids[1:]]
        return RequestOutput(logprobs, outputs[::-1])


def install(monkeypatch: Any) -> type[LLM]:
    """Put it where the engine imports vLLM from."""
    LLM.made, LLM.asked, LLM.dies = [], [], False
    EngineDeadError.__module__ = "vllm.v1.engine.exceptions"
    package = types.ModuleType("vllm")
    package.__dict__.update(LLM=LLM, SamplingParams=SamplingParams)
    sampling = types.ModuleType("vllm.sampling_params")
    sampling.__dict__.update(StructuredOutputsParams=StructuredOutputsParams)
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)
    return LLM
