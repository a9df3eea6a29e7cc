"""CTranslate2: int8 on CPU cores; the fastest engine without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nightshift.errors import EngineError
from nightshift.generate.engines.base import Generated, Sampling, first_line
from nightshift.generate.engines.local import LocalEngine
from nightshift.generate.engines.model_files import ct2_folder
from nightshift.generate.engines.tokens import Tokens


class CTranslate2Engine(LocalEngine):
    name: ClassVar[str] = "ctranslate2"
    compute_type: ClassVar[str] = "int8"

    @property
    def versions(self) -> str:
        return version("ctranslate2")

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(ct2_folder(self.settings, self.adapter))

    def _generator(self, seed: int) -> Any:
        """A new one each call: a live generator keeps the random state it was made with."""
        folder = ct2_folder(self.settings, self.adapter)
        try:
            import ctranslate2

            ctranslate2.set_random_seed(seed)
            return ctranslate2.Generator(
                str(folder),
                device="cpu",
                compute_type=self.compute_type,
                inter_threads=1,
                intra_threads=self.settings.compute.threads,
            )
        except (ImportError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"CTranslate2 could not load the model: {error}.",
                hint=f"delete {folder} and run again, or set generate.engine.name=transformers",
            ) from error

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        if not prompts:
            return Generated([], 0)
        tokens = self._tokens
        greedy = sampling.temperature == 0
        options: dict[str, Any] = {
            "max_batch_size": self.settings.generate.engine.batch,
            "max_length": sampling.max_new_tokens,
            "sampling_topk": 1 if greedy else sampling.top_k,
            "sampling_temperature": 1.0 if greedy else sampling.temperature,
            "num_hypotheses": 1 if greedy else sampling.per_prompt,
            "include_prompt_in_result": False,
            "end_token": tokens.line_ends,
        }
        if prefix:
            options["static_prompt"] = tokens.names(tokens.encode([prefix])[0])
        rows = [tokens.names(ids) for ids in tokens.encode(prompts)]
        try:
            results = self._generator(sampling.seed).generate_batch(rows, **options)
        except (RuntimeError, ValueError) as error:
            raise _failed(error) from error
        ids = [sequence for result in results for sequence in result.sequences_ids]
        texts = iter(first_line(text) for text in tokens.decode(ids))
        grouped = [[next(texts) for _ in result.sequences_ids] for result in results]
        return Generated(grouped, sum(map(len, ids)))

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        if not prompts:
            return np.zeros(0)
        tokens = self._tokens
        heads, tails = tokens.encode(prompts), tokens.encode(continuations)
        rows = [tokens.names(h + t) for h, t in zip(heads, tails, strict=True)]
        try:
            results = self._generator(0).score_batch(
                rows, max_batch_size=self.settings.generate.engine.batch
            )
        except (RuntimeError, ValueError) as error:
            raise _failed(error) from error
        # A row of n tokens has n - 1 log-probabilities: the last ones are the continuation's.
        return np.array(
            [
                sum(result.log_probs[len(result.log_probs) - len(tail) :])
                for result, tail in zip(results, tails, strict=True)
            ]
        )


def _failed(error: Exception) -> EngineError:
    return EngineError(
        f"CTranslate2 failed: {error}.",
        hint="lower generate.engine.batch if memory ran out, "
        "or set generate.engine.name=transformers",
    )
