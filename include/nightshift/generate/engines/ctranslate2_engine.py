"""CTranslate2: int8 on CPU cores; the fastest engine without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.compute import give_back_freed
from nightshift.errors import EngineError
from nightshift.generate.engines.base import Generated, Sampling, first_line, prompt_hash
from nightshift.generate.engines.local import LocalEngine
from nightshift.generate.engines.model_files import ct2_folder

_SEED_BITS = 32


class CTranslate2Engine(LocalEngine):
    name = "ctranslate2"
    compute_type = "int8"
    revision = "4"

    @property
    def versions(self) -> str:
        return version("ctranslate2")

    def independent(self, sampling: Sampling) -> bool:
        """Rows of a batch draw from one random state: only the likeliest token is a row's own."""
        return sampling.temperature == 0

    def _folder(self) -> Path:
        return ct2_folder(self.settings, lake=self._lake, adapter=self._adapter)

    def _generator(self, seed: int) -> Any:
        folder = self._folder()
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

    @cached_property
    def _seedless(self) -> Any:
        """For what draws nothing. Draws need a new one each call: a live generator goes on with the
        random state that it was made with."""
        return self._generator(0)

    def _generate(self, prompts: Sequence[str], sampling: Sampling, prefix: str) -> Generated:
        tokens = self._tokens
        greedy = sampling.temperature == 0
        options: dict[str, Any] = {
            "max_length": sampling.max_new_tokens,
            "sampling_topk": 1 if greedy else sampling.top_k,
            "sampling_temperature": 1.0 if greedy else sampling.temperature,
            "num_hypotheses": sampling.count,
            "include_prompt_in_result": False,
            "end_token": tokens.line_ends,
        }
        head, rows = self._encoded(prompts, prefix)
        if head:
            options["static_prompt"] = tokens.names(head)
        # A call draws from one random state: other prompts, another one.
        seed = prompt_hash(sampling.seed, prefix, *prompts) >> (64 - _SEED_BITS)
        generator = self._seedless if greedy else self._generator(seed)
        ids: list[list[list[int]]] = [[] for _ in rows]
        try:
            for batch in self._batches(rows, len(head), sampling):
                names = [tokens.names(rows[i]) for i in batch]
                for i, result in zip(
                    batch, generator.generate_batch(names, **options), strict=True
                ):
                    ids[i] = result.sequences_ids
                give_back_freed()
        except (RuntimeError, ValueError) as error:
            raise _failed(error) from error
        texts = iter(first_line(t) for t in tokens.decode([s for found in ids for s in found]))
        tokens_of = tuple(
            (sum(map(len, found)), len(head) + len(row))
            for found, row in zip(ids, rows, strict=True)
        )
        return Generated(
            [[next(texts) for _ in found] for found in ids],
            sum(written for written, _ in tokens_of),
            sum(read for _, read in tokens_of),
            tokens_of=tokens_of,
        )

    def _batches(
        self, rows: Sequence[Sequence[int]], prefix: int, sampling: Sampling
    ) -> Iterator[list[int]]:
        """Places of the rows of each batch, all as long as each other.

        CTranslate2 reads of a batch at once what its shortest row has, and the rest of the longer
        ones a token a step, with every continuation of every row: half of the time with product
        titles in batches of 32.
        """
        ordered = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
        for length, places in groupby(ordered, key=lambda i: len(rows[i])):
            alike = list(places)
            most = self._fitting(prefix + length + sampling.max_new_tokens, sampling.count)
            for start in range(0, len(alike), most):
                yield alike[start : start + most]

    def _score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        tokens = self._tokens
        heads, tails = tokens.encode(prompts), tokens.encode(continuations)
        rows = [tokens.names(h + t) for h, t in zip(heads, tails, strict=True)]
        try:
            results = self._seedless.score_batch(
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
        hint="lower generate.engine.batch or batch_tokens if memory ran out, "
        "or set generate.engine.name=transformers",
    )
