"""transformers: any device, bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nightshift.compute import device, set_up_torch
from nightshift.errors import EngineError
from nightshift.generate.engines.base import Generated, Sampling, first_line
from nightshift.generate.engines.local import LocalEngine
from nightshift.generate.engines.model_files import hf_folder
from nightshift.generate.engines.tokens import Tokens


class TransformersEngine(LocalEngine):
    name: ClassVar[str] = "transformers"
    compute_type: ClassVar[str] = "bfloat16"

    @property
    def versions(self) -> str:
        return f"{version('transformers')}/{version('torch')}"

    @cached_property
    def identity(self) -> dict[str, Any]:
        return super().identity | {"device": str(device(self.settings))}

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(hf_folder(self.settings, self.adapter))

    @cached_property
    def _model(self) -> Any:
        folder = hf_folder(self.settings, self.adapter)
        try:
            import torch
            from transformers import AutoModelForCausalLM
            from transformers.utils import logging

            logging.set_verbosity_error()
            logging.disable_progress_bar()
            set_up_torch(self.settings)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.bfloat16, local_files_only=True
            )
            return model.eval().to(device(self.settings))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"transformers could not load the model: {error}.",
                hint=f"delete {folder} and run again (`nightshift doctor` shows the memory)",
            ) from error

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = ""
    ) -> Generated:
        if not prompts:
            return Generated([], 0)
        import torch

        model = self._model
        head = self._tokens.encode([prefix])[0] if prefix else []
        rows = [head + ids for ids in self._tokens.encode(prompts)]
        batch = self.settings.generate.engine.batch
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))  # little padding
        texts: list[list[str]] = [[] for _ in rows]
        used = 0
        torch.manual_seed(sampling.seed)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            try:
                grouped, count = self._continue(model, [rows[i] for i in chosen], sampling)
            except RuntimeError as error:
                raise _failed(error) from error
            used += count
            for i, found in zip(chosen, grouped, strict=True):
                texts[i] = found
        return Generated(texts, used)

    def _continue(
        self, model: Any, rows: list[list[int]], sampling: Sampling
    ) -> tuple[list[list[str]], int]:
        import torch

        ends = self._tokens.line_ends
        ids, mask = _left_padded(rows, pad=ends[0])
        greedy = sampling.temperature == 0
        how: dict[str, Any] = (
            {"do_sample": False}
            if greedy
            else {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "num_return_sequences": sampling.per_prompt,
            }
        )
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=ends,
                pad_token_id=ends[0],
                **how,
            )
        new = out[:, ids.shape[1] :].tolist()
        stop = set(ends)
        kept = [row[: next((i for i, t in enumerate(row) if t in stop), len(row))] for row in new]
        each = len(kept) // len(rows)
        decoded = [first_line(text) for text in self._tokens.decode(kept)]
        grouped = [decoded[i : i + each] for i in range(0, len(decoded), each)]
        return grouped, sum(map(len, kept))

    def score(
        self, prompts: Sequence[str], continuations: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        import torch

        model = self._model
        heads, tails = self._tokens.encode(prompts), self._tokens.encode(continuations)
        scores = np.zeros(len(heads))
        batch = self.settings.generate.engine.batch
        for start in range(0, len(heads), batch):
            block = slice(start, start + batch)
            rows = [h + t for h, t in zip(heads[block], tails[block], strict=True)]
            ids, mask = _left_padded(rows, pad=self._tokens.line_ends[0])
            try:
                with torch.inference_mode():
                    logits = model(
                        input_ids=ids.to(model.device), attention_mask=mask.to(model.device)
                    ).logits
            except RuntimeError as error:
                raise _failed(error) from error
            log_probs = logits[:, :-1].float().log_softmax(dim=-1).cpu()
            taken = log_probs.gather(2, ids[:, 1:, None])[:, :, 0]
            lengths = torch.tensor([len(tail) for tail in tails[block]])
            inside = torch.arange(taken.shape[1]) >= taken.shape[1] - lengths[:, None]
            scores[block] = (taken * inside).sum(dim=1).double().numpy()
        return scores


def _left_padded(rows: list[list[int]], pad: int) -> tuple[Any, Any]:
    """Ids and attention mask, right-aligned: [rows, longest]."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _failed(error: Exception) -> EngineError:
    return EngineError(
        f"transformers failed: {error}.",
        hint="lower generate.engine.batch if memory ran out",
    )
