"""There and back through another language, by two sequence-to-sequence models of transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.compute import device
from nightshift.errors import EngineError
from nightshift.generate.engines.base import Engine, Generated, Sampling
from nightshift.generate.engines.bounded import Worker
from nightshift.settings import Settings

_FILES = ("config.json", "*.safetensors", "tokenizer*", "*.spm", "vocab*", "spiece.model")
_BLOCK = 1 << 20


class RoundTrip(Engine):
    """Texts in, the same texts said otherwise out; nothing is loaded before it is asked."""

    name = "round trip"

    def __init__(self, there: Path, back: Path, settings: Settings) -> None:
        self.settings = settings
        self._there, self._back = Seq2Seq(there, settings), Seq2Seq(back, settings)

    @cached_property
    def identity(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "engine": self.name,
            "version": f"{version('transformers')}/{version('torch')}",
            "model": self.model["digest"],
            "compute_type": "float32",
            "device": str(device(self.settings)),
            "threads": self.settings.compute.threads,
            "batch": self.settings.generate.engine.batch,
        }

    @cached_property
    def model(self) -> dict[str, str]:
        pair = (self._there, self._back)
        return {
            "name": " + ".join(model.folder.name for model in pair),
            "digest": hashlib.sha256("".join(m.digest for m in pair).encode()).hexdigest(),
        }

    def independent(self, sampling: Sampling) -> bool:
        """The likeliest words are a text's own, up to the rounding that padding brings; draws come
        from one random state for all rows."""
        return sampling.temperature == 0

    @cached_property
    def _worker(self) -> Worker:
        return Worker()

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        prefix: str = "",  # noqa: ARG002
    ) -> Generated:
        """`sampling.count` round trips of each text; `prefix` is nothing that a translator reads.

        Raises:
            EngineError: a model could not be loaded, failed or hangs.
        """
        seconds = self.settings.generate.engine.call_seconds
        return self._worker.run(lambda: self._made(prompts, sampling), seconds, self.name)

    def _made(self, prompts: Sequence[str], sampling: Sampling) -> Generated:
        n = sampling.count
        asked = [text for text in prompts for _ in range(n)]
        abroad, first = self._there.translate(asked, sampling)
        home, second = self._back.translate(abroad, sampling)
        starts = range(0, len(home), n)
        used = [sum(first[i : i + n]) + sum(second[i : i + n]) for i in starts]
        return Generated(
            [home[i : i + n] for i in starts],
            sum(used),
            tokens_of=tuple((written, 0) for written in used),
        )

    def score(
        self,
        prompts: Sequence[str],  # noqa: ARG002
        continuations: Sequence[str],  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        raise EngineError(
            "A pair of translation models does not score texts.",
            hint="score with generate.engine; only back_translation uses the pair",
        )


class Seq2Seq:
    """One model and its tokenizer, from a folder in Hugging Face's layout."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder.expanduser().resolve()
        self.settings = settings

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the model is made of.

        Raises:
            EngineError: the folder holds no model.
        """
        found = sorted({path for pattern in _FILES for path in self.folder.glob(pattern)})
        if not any(path.name == "config.json" for path in found):
            raise EngineError(
                f"{self.folder} holds no config.json.",
                hint="let generate.back_translation.there and back name folders in Hugging Face's "
                "layout (config, tokenizer, safetensors)",
            )
        state = hashlib.sha256()
        for path in found:
            state.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    state.update(block)
        return state.hexdigest()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        digest = self.digest  # says what is wrong with the folder, in our words
        try:
            from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
            from transformers.utils import logging

            from nightshift.compute import set_up_torch

            logging.set_verbosity_error()
            logging.disable_progress_bar()
            set_up_torch(self.settings)
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True
            )
            return tokenizer, model.eval().to(device(self.settings))
        except (ImportError, OSError, RuntimeError, ValueError, KeyError) as error:
            raise EngineError(
                f"The model in {self.folder} could not be loaded: {error}.",
                hint="Marian's tokenizers need the package sentencepiece; weights must be "
                "safetensors",
                model=digest[:12],
            ) from error

    def translate(self, texts: Sequence[str], sampling: Sampling) -> tuple[list[str], list[int]]:
        """One translation of each text, one line each, and the tokens that each took.

        Texts of like length share a batch; at temperature 0 each is the likeliest (beam 1).

        Raises:
            EngineError: the model could not be loaded, or failed.
        """
        if not texts:
            return [], []
        import torch

        tokenizer, model = self._loaded
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        out = [""] * len(texts)
        used = [0] * len(texts)
        how: dict[str, Any] = {"num_beams": 1, "max_new_tokens": sampling.max_new_tokens}
        if sampling.temperature == 0:
            how["do_sample"] = False
        else:
            how |= {"do_sample": True, "temperature": sampling.temperature}
            how["top_k"] = sampling.top_k
        torch.manual_seed(sampling.seed)
        batch = self.settings.generate.engine.batch
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            try:
                given = tokenizer(
                    [texts[i] or " " for i in chosen],
                    return_tensors="pt",
                    padding=True,
                    truncation=True,
                    max_length=self._longest(model),
                )
                with torch.inference_mode():
                    ids = model.generate(
                        input_ids=given["input_ids"].to(model.device),
                        attention_mask=given["attention_mask"].to(model.device),
                        **how,
                    )
                found = tokenizer.batch_decode(ids, skip_special_tokens=True)
            except (RuntimeError, ValueError, IndexError) as error:
                raise EngineError(
                    f"The model in {self.folder} failed: {error}.",
                    hint="lower generate.engine.batch if memory ran out",
                ) from error
            counts = (ids != model.config.pad_token_id).sum(dim=1).tolist()
            for i, text, count in zip(chosen, found, counts, strict=True):
                out[i], used[i] = " ".join(text.split()), count
        return out, used

    @staticmethod
    def _longest(model: Any) -> int:
        return int(getattr(model.config, "max_position_embeddings", None) or 512)
