"""Conversions and merged adapters: made once, shared through a remote lake, whole or not there."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from factories import make_settings
from nightshift.errors import EngineError
from nightshift.generate.engines import create, model_files
from nightshift.generate.engines.adapter import ADAPTER_FILES, Adapter
from nightshift.generate.engines.base import Sampling
from nightshift.generate.engines.model_files import ct2_folder, hf_folder, model_source
from nightshift.lake import Lake, sha256_of
from nightshift.manifest import digest_of
from nightshift.settings import Settings

COLD = Sampling(max_new_tokens=4, temperature=0)
PROMPTS, BEHIND = ["Product: red scarf\nSearch:", "peas"], [" scarf", " frozen peas"]


@pytest.fixture(scope="session")
def tiny(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two small layers with random weights, and the tokenizer of the real one."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    real = hf_folder(_at(models.parent / "of-tests", models))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(real / name, folder / name)
    return folder


def _at(home: Path, models: Path) -> Settings:
    home.mkdir(exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(models)
    return make_settings(home)


def settings_of(home: Path, tiny: Path, name: str = "ctranslate2", **lake: Any) -> Settings:
    changes = {"generate": {"engine": {"name": name, "model": str(tiny)}}, "lake": lake}
    return make_settings(home).with_(changes)


def random_adapter(tiny: Path, folder: Path, seed: int = 1) -> Adapter:
    """As a training would leave it: peft's two files, no weight of it zero."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16)
    how = LoraConfig(
        r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    get_peft_model(base, how).save_pretrained(folder)
    digest = digest_of([sha256_of(folder / name) for name in ADAPTER_FILES])
    return Adapter(digest, lambda: folder)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were converted, not fetched."""
    done: list[Path] = []
    real: Callable[[Path, Path], None] = model_files._convert

    def counting(origin: Path, folder: Path) -> None:
        done.append(folder)
        real(origin, folder)

    monkeypatch.setattr(model_files, "_convert", counting)
    return done


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in folder.iterdir()}


def test_another_machine_takes_the_conversion_from_the_lake(
    tiny: Path, s3: Any, tmp_path: Path, conversions: list[Path]
) -> None:
    root = s3.fresh()
    folders = []
    for home in ("one", "two"):
        settings = settings_of(tmp_path / home, tiny, root=root, options=s3.options)
        folders.append(ct2_folder(settings, lake=Lake.of(settings)))
    assert len(conversions) == 1
    assert contents(folders[0]) == contents(folders[1])
    assert {"config.json", "model.bin", "tokenizer.json"} <= set(contents(folders[1]))
    assert folders[1].is_relative_to(tmp_path / "two")
    engine = create(settings, lake=Lake.of(settings))
    assert len(engine.generate(PROMPTS, COLD).texts) == 2
    assert len(conversions) == 1


def test_a_lake_in_files_gets_no_second_copy(
    tiny: Path, tmp_path: Path, conversions: list[Path]
) -> None:
    settings = settings_of(tmp_path / "home", tiny)
    lake = Lake.of(settings)
    ct2_folder(settings, lake=lake)
    assert lake.names("models") == []


def test_what_is_broken_in_the_lake_is_made_and_put_there_anew(
    tiny: Path, s3: Any, tmp_path: Path, conversions: list[Path]
) -> None:
    root = s3.fresh()

    def convert(home: str) -> Path:
        settings = settings_of(tmp_path / home, tiny, root=root, options=s3.options)
        return ct2_folder(settings, lake=Lake.of(settings))

    whole = contents(convert("one"))
    lake = Lake(root, options=s3.options, scratch=tmp_path)
    paths = [one.path for one in lake.stored("models")]
    index = next(path for path in paths if path.endswith("index.json"))
    weights = next(path for path in paths if "model-" in path)
    listed = lake.read_bytes(index) or b""
    lake.write_bytes(weights, b"half of it")
    assert contents(convert("two")) == whole
    lake.write_bytes(index, listed[:40])
    assert contents(convert("three")) == whole
    lake.delete(index)  # killed before the index was written
    assert contents(convert("four")) == whole
    assert len(conversions) == 4
    assert contents(convert("five")) == whole
    assert len(conversions) == 4


def test_a_name_in_the_lake_is_no_path(tiny: Path, s3: Any, tmp_path: Path) -> None:
    root = s3.fresh()
    settings = settings_of(tmp_path / "one", tiny, root=root, options=s3.options)
    lake = Lake.of(settings)
    ct2_folder(settings, lake=lake)
    [index] = [one.path for one in lake.stored("models") if one.path.endswith("index.json")]
    listed = json.loads(lake.read_bytes(index) or b"")
    listed["files"][0]["name"] = f"../../../{listed['files'][0]['name']}"
    lake.write_bytes(index, json.dumps(listed).encode())
    other = settings_of(tmp_path / "two", tiny, root=root, options=s3.options)
    folder = ct2_folder(other, lake=Lake.of(other))
    assert not list((tmp_path / "two").glob("*.json"))
    assert (folder / "config.json").is_file()


def convert_at(home: Path, tiny: Path, root: str, options: dict[str, Any]) -> None:
    """In a process of its own."""
    settings = settings_of(home, tiny, root=root, options=options)
    ct2_folder(settings, lake=Lake.of(settings))


def test_two_machines_at_once_both_end_with_it_whole(
    tiny: Path, s3: Any, tmp_path: Path, conversions: list[Path]
) -> None:
    root = s3.fresh()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=convert_at, args=(tmp_path / home, tiny, root, s3.options))
        for home in ("a", "b", "a")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    settings = settings_of(tmp_path / "a", tiny, root=root, options=s3.options)
    ends = [contents(ct2_folder(settings)), contents(ct2_folder(settings_of(tmp_path / "b", tiny)))]
    assert ends[0] == ends[1]
    third = settings_of(tmp_path / "c", tiny, root=root, options=s3.options)
    assert contents(ct2_folder(third, lake=Lake.of(third))) == ends[0]
    assert conversions == []


def test_a_merged_adapter_answers_as_base_and_adapter_together(tiny: Path, tmp_path: Path) -> None:
    adapter = random_adapter(tiny, tmp_path / "adapter")
    settings = settings_of(tmp_path / "home", tiny, "transformers")
    plain, adapted = create(settings), create(settings, adapter=adapter)
    scores = adapted.score(PROMPTS, BEHIND)
    assert np.abs(scores - plain.score(PROMPTS, BEHIND)).max() > 0.5
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    beside = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    tokens = adapted._tokens  # type: ignore[attr-defined]
    for prompt, behind, score in zip(PROMPTS, BEHIND, scores, strict=True):
        head, tail = tokens.encode([prompt, behind])
        with torch.inference_mode():
            log_probs = beside(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        exact = sum(log_probs[len(head) + i - 1, t].item() for i, t in enumerate(tail))
        assert score == pytest.approx(exact, abs=0.3)  # bfloat16
    assert adapted.model == plain.model | {"adapter": adapter.digest}
    assert adapted.identity == plain.identity | {"adapter": adapter.digest}
    assert "adapter" not in plain.identity


def test_it_is_merged_once_for_all_engines_and_kept_by_both_digests(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    made = random_adapter(tiny, tmp_path / "adapter")

    def folder() -> Path:
        asked.append(made.folder())
        return asked[-1]

    adapter = Adapter(made.digest, folder)
    settings = settings_of(tmp_path / "home", tiny)
    merged = hf_folder(settings, adapter=adapter)
    converted = ct2_folder(settings, adapter=adapter)
    assert hf_folder(settings, adapter=adapter) == merged
    pair = f"{model_source(settings).digest[:16]}-{made.digest[:16]}"
    assert [merged.parent.name, converted.parent.name] == [pair, pair]
    assert len(asked) == 1
    engine = create(settings, adapter=adapter)
    assert engine.generate(PROMPTS, COLD).texts != create(settings).generate(PROMPTS, COLD).texts
    saved = AutoModelForCausalLM.from_pretrained(merged)
    assert saved.dtype == torch.bfloat16
    assert not list(merged.glob("adapter*"))
    other = random_adapter(tiny, tmp_path / "other", seed=2)
    assert hf_folder(settings, adapter=other) != merged


@pytest.mark.parametrize("broken", ["missing", "torn", "of another model"])
def test_an_adapter_that_does_not_fit_is_named(broken: str, tiny: Path, tmp_path: Path) -> None:
    adapter = random_adapter(tiny, tmp_path / "adapter")
    weights = tmp_path / "adapter" / ADAPTER_FILES[1]
    if broken == "missing":
        weights.unlink()
    elif broken == "torn":
        weights.write_bytes(weights.read_bytes()[:-50])
    else:
        from safetensors.torch import load_file, save_file

        save_file({k: torch.zeros(3, 5) for k in load_file(weights)}, weights)
    settings = settings_of(tmp_path / "home", tiny)
    with pytest.raises(EngineError, match="adapter cannot be merged") as failed:
        create(settings, adapter=adapter).generate(PROMPTS, COLD)
    assert "nightshift adapt" in failed.value.hint
    assert not [p for p in (tmp_path / "home" / "models").glob("*/*") if p.is_dir()]
