"""What a shop's own training adds to a language model: a LoRA adapter in peft's format."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightshift.errors import EngineError

log = logging.getLogger("nightshift.generate")

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that a model is run with (Hu et al., 2021: "LoRA")."""

    digest: str
    """Of its files: part of the engine's identity and of a sample's lineage."""
    folder: Callable[[], Path]
    """Gives a local folder with ADAPTER_FILES; asked only when they are needed."""


def merge(base: Path, adapter: Adapter, folder: Path) -> None:
    """Write the base model with the adapter added to its weights, bfloat16, Hugging Face's layout.

    Raises:
        EngineError: the adapter is incomplete, or does not fit the model.
    """
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    files = adapter.folder()
    missing = [name for name in ADAPTER_FILES if not (files / name).is_file()]
    if missing:
        raise _unfit(f"it lacks {', '.join(missing)}", files)
    log.info("merging adapter %s, once", adapter.digest[:16])
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.bfloat16, local_files_only=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # peft only warns of weights it finds no place for
            adapted = PeftModel.from_pretrained(model, str(files), local_files_only=True)
        adapted.merge_and_unload(safe_merge=True).save_pretrained(folder)
    except (RuntimeError, ValueError, KeyError, TypeError, UserWarning, SafetensorError) as error:
        raise _unfit(str(error).partition("\n")[0], files) from error
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)


def _unfit(why: str, files: Path) -> EngineError:
    return EngineError(
        f"The adapter cannot be merged into the language model: {why}.",
        hint="train it anew for this model (`nightshift adapt`), or generate without one",
        file=files,
    )
