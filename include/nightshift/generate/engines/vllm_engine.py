"""vLLM, in this process: one offline batch on a GPU, prefixes cached, a seed for every prompt.

vLLM pins a torch of its own, so it lies in an environment of its own (/opt/vllm of the worker
image). Run the stage with that environment's Python, or reach it as a server: `openai`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.errors import EngineError
from nightshift.generate.engines.base import Generated, Sampling, first_line, prompt_hash
from nightshift.generate.engines.grammar import whole_line
from nightshift.generate.engines.local import LocalEngine

_SEED_BITS = 31
"""vLLM adds a continuation's number to its prompt's seed."""


class VllmEngine(LocalEngine):
    name = "vllm"
    compute_type = "bfloat16"

    @property
    def versions(self) -> str:
        try:
            return version("vllm")
        except PackageNotFoundError as error:
            raise _missing(error) from error

    def independent(self, sampling: Sampling) -> bool:  # noqa: ARG002
        return True

    def constrains(self, sampling: Sampling) -> bool:
        return sampling.pattern is not None

    @cached_property
    def _llm(self) -> Any:
        folder = self._folder()
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it would tell its makers of every start
        try:
            import vllm
        except ImportError as error:
            raise _missing(error) from error
        try:
            return vllm.LLM(
                model=str(folder),
                dtype=self.compute_type,
                gpu_memory_utilization=self.settings.generate.engine.gpu_memory,
                enable_prefix_caching=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(
                f"vLLM could not load the model: {error}.",
                hint="is there a GPU with free memory? lower generate.engine.gpu_memory, or set "
                "generate.engine.name=transformers",
            ) from error

    def _load(self) -> None:
        _ = self._llm  # loaded here: it sets signal handlers, which only a main thread may

    def _generate(self, prompts: Sequence[str], sampling: Sampling, prefix: str) -> Generated:
        head = self._tokens.encode([prefix])[0] if prefix else []
        rows = [head + ids for ids in self._tokens.encode(prompts)]
        seeds = [prompt_hash(sampling.seed, prefix + p) >> (64 - _SEED_BITS) for p in prompts]
        results = self._run(rows, lambda place: self._params(sampling, seeds[place]))
        outputs = [sorted(result.outputs, key=lambda one: one.index) for result in results]
        tokens_of = tuple(
            (sum(len(one.token_ids) for one in found), len(row))
            for found, row in zip(outputs, rows, strict=True)
        )
        return Generated(
            [[first_line(one.text) for one in found] for found in outputs],
            sum(written for written, _ in tokens_of),
            sum(read for _, read in tokens_of),
            tokens_of=tokens_of,
        )

    def _params(self, sampling: Sampling, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import (
            StructuredOutputsParams,
        )

        shape = None if sampling.pattern is None else whole_line(sampling.pattern)
        return SamplingParams(
            n=sampling.count,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            seed=seed,
            max_tokens=sampling.max_new_tokens,
            stop=["\n"],
            stop_token_ids=self._tokens.text_ends,
            structured_outputs=None if shape is None else StructuredOutputsParams(regex=shape),
        )

    def _score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        heads, tails = self._tokens.encode(prompts), self._tokens.encode(continuations)
        rows = [h + t for h, t in zip(heads, tails, strict=True)]

        def params(_: int) -> Any:
            from vllm import SamplingParams

            return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=1)

        results = self._run(rows, params)
        scores = np.zeros(len(rows))
        for place, (result, row) in enumerate(zip(results, rows, strict=True)):
            # The first token of all has no log-probability: nothing stands in front of it.
            start = max(len(heads[place]), 1)
            scores[place] = sum(
                result.prompt_logprobs[i][row[i]].logprob for i in range(start, len(row))
            )
        return scores

    def _run(self, rows: list[list[int]], params: Callable[[int], Any]) -> list[Any]:
        """vLLM's outputs of token rows, in their order; a row without tokens gets one that ends."""
        prompts = [{"prompt_token_ids": row or self._tokens.text_ends[:1]} for row in rows]
        llm = self._llm
        try:
            results: list[Any] = llm.generate(
                prompts, [params(place) for place in range(len(rows))], use_tqdm=False
            )
        except Exception as error:  # a dead engine core is none of the usual errors
            ours = isinstance(error, RuntimeError | ValueError)
            if not ours and not type(error).__module__.startswith("vllm"):
                raise
            raise EngineError(
                f"vLLM failed: {error}.",
                hint="lower generate.engine.gpu_memory if memory ran out, "
                "or set generate.engine.name=transformers",
            ) from error
        if len(results) != len(rows):
            raise EngineError(
                f"vLLM gave {len(results)} answers to {len(rows)} prompts.", hint="run again"
            )
        return results


def _missing(error: Exception) -> EngineError:
    return EngineError(
        f"generate.engine.name is vllm, but vLLM is not installed here: {error}.",
        hint="it wants an environment of its own: serve it there (`vllm serve …`, in the worker "
        "image /opt/vllm/bin/vllm) and set generate.engine.name=openai and generate.engine.url",
    )
