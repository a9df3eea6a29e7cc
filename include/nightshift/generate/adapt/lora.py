"""Low-rank updates of a language model's weights (LoRA; Hu et al., 2021), by peft.

Every linear projection of the chosen layers gets a product of two thin matrices; the weights
themselves stay as they are, and so the updates are small enough to be kept every week.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nightshift.compute import device, set_up_torch
from nightshift.errors import EngineError
from nightshift.generate.engines.tokens import Tokens
from nightshift.progress import Progress
from nightshift.settings import Settings

_WARM_UP = 0.06
"""Share of the steps in which the rate rises; then it falls to zero in a line."""
_MAX_NORM = 1.0
_IGNORED = -100
_JUDGED_AT_ONCE = 16
_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens of a prompt, and of the answer that is learnt behind it."""

    prompt: list[int]
    answer: list[int]


class Learner:
    """A language model with an adapter that learns.

    Args:
        folder: the model in Hugging Face's layout.

    Raises:
        EngineError: it cannot be loaded.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.adapt = settings, settings.adapt
        self.tokens = Tokens(folder)
        set_up_torch(settings)
        torch.manual_seed(self.adapt.seed)
        self.device = device(settings)
        try:
            self.model = self._adapted(folder)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"The language model could not be loaded to be adapted: {error}.",
                hint="pip install peft; `nightshift doctor` shows the memory",
            ) from error

    def _adapted(self, folder: Path) -> Any:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        causal = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, self.adapt.dtype), local_files_only=True
        )
        total = causal.config.num_hidden_layers
        last = min(self.adapt.layers, total) or total
        config = LoraConfig(
            r=self.adapt.rank,
            lora_alpha=2 * self.adapt.rank,  # the usual ratio: the rate need not follow the rank
            lora_dropout=self.adapt.dropout,
            target_modules=_projections(causal),
            layers_to_transform=list(range(total - last, total)),
            task_type="CAUSAL_LM",
        )
        return get_peft_model(causal, config).to(self.device)

    @property
    def weights(self) -> int:
        """How many numbers are learnt."""
        return sum(weight.numel() for weight in self._learnt())

    def _learnt(self) -> list[Any]:
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def rows(self, pairs: Sequence[tuple[str, str]]) -> list[Row]:
        """Texts as tokens, a prompt and its answer each on its own, as an engine reads them."""
        prompts = self.tokens.encode([prompt for prompt, _ in pairs])
        answers = self.tokens.encode([answer for _, answer in pairs])
        return [Row(p, a) for p, a in zip(prompts, answers, strict=True) if len(p) + len(a) > 1]

    def learn(self, rows: Sequence[Row], steps: int, *, label: str) -> float:
        """Take `steps` steps of AdamW on the answers; the mean loss of the last tenth of them."""
        optimiser = torch.optim.AdamW(self._learnt(), lr=self.adapt.learning_rate, weight_decay=0.0)
        warm = max(round(steps * _WARM_UP), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min((step + 1) / warm, 1.0) * (1 - step / steps)
        )
        losses = []
        self.model.train()
        with Progress(label, total=steps, unit="steps") as progress:
            for _, batch in zip(range(steps), self._batches(rows), strict=False):
                loss, count = self._loss(batch)
                (loss / count).backward()
                torch.nn.utils.clip_grad_norm_(self._learnt(), _MAX_NORM)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad(set_to_none=True)
                losses.append(float(loss.detach()) / count)
                progress.add(1, note=f"loss {losses[-1]:.2f}")
        self.model.eval()
        return float(np.mean(losses[-max(steps // 10, 1) :])) if losses else math.nan

    def perplexity(self, rows: Sequence[Row]) -> float:
        """Of the answers, given their prompts: e to the mean loss of a token."""
        self.model.eval()
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for start in range(0, len(rows), _JUDGED_AT_ONCE):
                loss, count = self._loss(rows[start : start + _JUDGED_AT_ONCE])
                total, tokens = total + float(loss), tokens + count
        return math.exp(total / tokens)

    def save(self, folder: Path, name: str) -> None:
        """peft's files, the same for the same weights: no local path, lists in order."""
        self.model.save_pretrained(str(folder))
        path = folder / _CONFIG
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = name
        config = {k: sorted(v) if isinstance(v, list) else v for k, v in config.items()}
        path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")

    def _batches(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Every row once a pass, in an order of the seed; for ever."""
        rng = np.random.default_rng([self.adapt.seed, len(rows)])
        waiting: list[int] = []
        while True:
            while len(waiting) < self.adapt.batch:
                waiting += rng.permutation(len(rows)).tolist()
            batch, waiting = waiting[: self.adapt.batch], waiting[self.adapt.batch :]
            yield [rows[i] for i in batch]

    def _loss(self, rows: Sequence[Row]) -> tuple[Any, int]:
        """Summed cross-entropy of the answers' tokens, and their number.

        Only where an answer stands is the vocabulary's distribution computed: it would be a fifth
        of all the work elsewhere.
        """
        width = max(len(row.prompt) + len(row.answer) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        wanted = torch.full_like(ids, _IGNORED)
        for i, row in enumerate(rows):
            head, end = len(row.prompt), len(row.prompt) + len(row.answer)
            ids[i, :end] = torch.tensor(row.prompt + row.answer)
            mask[i, :end] = 1
            wanted[i, head:end] = torch.tensor(row.answer)
        causal = self.model.get_base_model()
        ids, mask, wanted = (part.to(self.device) for part in (ids, mask, wanted))
        hidden = causal.base_model(input_ids=ids, attention_mask=mask)[0][:, :-1]
        following = wanted[:, 1:]
        taken = following != _IGNORED
        logits = causal.get_output_embeddings()(hidden[taken]).float()
        loss = torch.nn.functional.cross_entropy(logits, following[taken], reduction="sum")
        return loss, int(taken.sum())


def _projections(causal: Any) -> list[str]:
    """Names of the linear maps inside a layer: of attention and of the feed-forward part."""
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in causal.base_model.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
    )
