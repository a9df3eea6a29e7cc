"""transformers: any device, bfloat16 where the device multiplies it in hardware."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.compute import device, precision, set_up_torch
from nightshift.errors import EngineError
from nightshift.generate.engines.base import Generated, Sampling, first_line, prompt_hash
from nightshift.generate.engines.decoding import continued, left_padded, read_prefix
from nightshift.generate.engines.local import LocalEngine


class TransformersEngine(LocalEngine):
    name = "transformers"

    @cached_property
    def compute_type(self) -> str:  # type: ignore[override]
        """float32 elsewhere: on a CPU that emulates bfloat16 it is 2.8 times as fast."""
        return precision("auto", device(self.settings))

    @property
    def versions(self) -> str:
        return f"{version('transformers')}/{version('torch')}"

    @cached_property
    def identity(self) -> dict[str, Any]:
        return super().identity | {"device": str(device(self.settings))}

    def independent(self, sampling: Sampling) -> bool:  # noqa: ARG002
        return True

    @cached_property
    def _model(self) -> Any:
        folder = self._folder()
        try:
            import torch
            from transformers import AutoModelForCausalLM
            from transformers.utils import logging

            logging.set_verbosity_error()
            logging.disable_progress_bar()
            set_up_torch(self.settings)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, self.compute_type), local_files_only=True
            )
            return model.eval().to(device(self.settings))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"transformers could not load the model: {error}.",
                hint=f"delete {folder} and run again (`nightshift doctor` shows the memory)",
            ) from error

    def _generate(self, prompts: Sequence[str], sampling: Sampling, prefix: str) -> Generated:
        model, ends = self._model, self._tokens.line_ends
        head, rows = self._encoded(prompts, prefix)
        read = [len(head) + len(row) for row in rows]
        texts: list[list[str]] = [[] for _ in rows]
        tokens_of = [(0, 0)] * len(rows)
        try:
            before = read_prefix(model, head, sampling.max_new_tokens)
            for chosen in self._batches(rows, len(head), sampling):
                drawn = [
                    prompt_hash(sampling.seed, prefix + prompts[i], str(number))
                    for i in chosen
                    for number in range(sampling.count)
                ]
                written = continued(
                    model,
                    before,
                    [rows[i] for i in chosen],
                    np.array(drawn, dtype=np.uint64),
                    sampling,
                    ends,
                )
                lines = [first_line(text) for text in self._tokens.decode(written)]
                for place, i in enumerate(chosen):
                    mine = slice(place * sampling.count, (place + 1) * sampling.count)
                    texts[i] = lines[mine]
                    tokens_of[i] = (sum(map(len, written[mine])), read[i])
        except RuntimeError as error:
            raise _failed(error) from error
        return Generated(texts, sum(t for t, _ in tokens_of), sum(read), tokens_of=tuple(tokens_of))

    def _batches(
        self, rows: Sequence[Sequence[int]], prefix: int, sampling: Sampling
    ) -> Iterator[list[int]]:
        """Places of the rows of each batch: of like lengths, for little padding."""
        batch: list[int] = []
        for i in sorted(range(len(rows)), key=lambda i: (len(rows[i]), i)):
            width = prefix + len(rows[i]) + sampling.max_new_tokens
            if batch and len(batch) >= self._fitting(width, sampling.count):
                yield batch
                batch = []
            batch.append(i)
        yield batch

    def _score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        import torch

        model = self._model
        heads, tails = self._tokens.encode(prompts), self._tokens.encode(continuations)
        scores = np.zeros(len(heads))
        rows = [h + t for h, t in zip(heads, tails, strict=True)]
        for chosen in self._batches(rows, 0, Sampling(max_new_tokens=0, per_prompt=1)):
            ids, mask = left_padded([rows[i] for i in chosen], pad=self._tokens.line_ends[0])
            try:
                with torch.inference_mode():
                    logits = model(
                        input_ids=ids.to(model.device), attention_mask=mask.to(model.device)
                    ).logits
            except RuntimeError as error:
                raise _failed(error) from error
            log_probs = logits[:, :-1].float().log_softmax(dim=-1).cpu()
            taken = log_probs.gather(2, ids[:, 1:, None])[:, :, 0]
            lengths = torch.tensor([len(tails[i]) for i in chosen])
            inside = torch.arange(taken.shape[1]) >= taken.shape[1] - lengths[:, None]
            scores[chosen] = (taken * inside).sum(dim=1).double().numpy()
        return scores


def _failed(error: Exception) -> EngineError:
    return EngineError(
        f"transformers failed: {error}.",
        hint="lower generate.engine.batch or batch_tokens if memory ran out",
    )
