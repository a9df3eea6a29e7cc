"""What vLLM is asked for. It cannot run here: a strict stand-in records it."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest
import vllm_stand_in as stand_in

from factories import make_settings
from nightshift.errors import EngineError
from nightshift.generate.engines import create, vllm_engine
from nightshift.generate.engines.base import Engine, Sampling

SOURCE = "NIGHTSHIFT_TEST_VLLM_SOURCE"
WARM = Sampling(max_new_tokens=8, temperature=0.7, per_prompt=2, seed=3, pattern="[a-z ]+")


@pytest.fixture
def engine(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in.install(monkeypatch)
    monkeypatch.setattr(vllm_engine, "version", lambda _: stand_in.VERSION)
    (tmp_path / "models").symlink_to(models)
    changes = {"generate": {"engine": {"name": "vllm", "gpu_memory": 0.5}}}
    return create(make_settings(tmp_path).with_(changes))


def test_one_batch_with_a_seed_for_every_prompt(engine: Engine) -> None:
    made = engine.generate(["red scarf", "peas"], WARM, prefix="List: ")
    [loaded] = stand_in.LLM.made
    assert loaded["gpu_memory_utilization"] == 0.5
    assert loaded["enable_prefix_caching"] is True
    assert (Path(loaded["model"]) / "model.safetensors").is_file()
    [(prompts, params)] = stand_in.LLM.asked
    rows = [p["prompt_token_ids"] for p in prompts]
    assert rows[0][:2] == rows[1][:2]  # the prefix, which vLLM reads once
    assert (params[0].n, params[0].temperature, params[0].top_k) == (2, 0.7, 50)
    assert (params[0].max_tokens, params[0].stop) == (8, ["\n"])
    assert params[0].structured_outputs.regex == r"([a-z ]+)\n?"
    assert engine.constrains(WARM)
    assert params[0].seed != params[1].seed
    assert made.texts[0] == [f" seed {params[0].seed}", f" seed {params[0].seed + 1}"]
    assert made.tokens_of == ((6, len(rows[0])), (6, len(rows[1])))
    alone = engine.generate(["peas"], WARM, prefix="List: ")
    assert alone.texts == [made.texts[1]]
    assert engine.independent(WARM)


def test_the_likeliest_text_is_asked_for_once(engine: Engine) -> None:
    cold = Sampling(max_new_tokens=8, temperature=0, per_prompt=3)
    assert [len(texts) for texts in engine.generate(["peas", ""], cold).texts] == [1, 1]


def test_only_the_continuation_is_scored(engine: Engine) -> None:
    scores = engine.score(["Product: red", ""], [" wool scarf", "wool scarf"])
    [(prompts, params)] = stand_in.LLM.asked
    assert params[0].prompt_logprobs == 1
    assert scores.tolist() == [-3.0, -float(len(prompts[1]["prompt_token_ids"]) - 1)]


def test_a_dead_engine_is_an_engine_error(engine: Engine) -> None:
    stand_in.LLM.dies = True
    with pytest.raises(EngineError, match="vLLM failed: EngineCore encountered"):
        engine.generate(["peas"], WARM)


def test_without_vllm_there_is_a_way_out(tmp_path: Path) -> None:
    changes = {"generate": {"engine": {"name": "vllm"}}}
    with pytest.raises(EngineError, match="vLLM is not installed here") as failed:
        _ = create(make_settings(tmp_path).with_(changes)).identity
    assert "generate.engine.url" in failed.value.hint


def test_the_stand_in_is_as_the_source_says() -> None:
    """With the unpacked wheel of that release in NIGHTSHIFT_TEST_VLLM_SOURCE."""
    if SOURCE not in os.environ:
        pytest.skip(f"{SOURCE} names no unpacked vLLM {stand_in.VERSION}")
    root = Path(os.environ[SOURCE])
    assert (root / f"vllm-{stand_in.VERSION}.dist-info").is_dir()
    llm = _class(root / "vllm/entrypoints/llm.py", "LLM")
    assert set(stand_in.LLM_ARGUMENTS) <= _arguments(llm, "__init__")
    assert set(stand_in.GENERATE_ARGUMENTS) <= _arguments(llm, "generate")
    for file, name, fields in (
        ("vllm/engine/arg_utils.py", "EngineArgs", stand_in.ENGINE_ARGUMENTS),
        ("vllm/sampling_params.py", "SamplingParams", stand_in.SAMPLING_FIELDS),
        ("vllm/sampling_params.py", "StructuredOutputsParams", stand_in.STRUCTURED_FIELDS),
        ("vllm/outputs.py", "CompletionOutput", stand_in.OUTPUT_FIELDS),
        ("vllm/inputs/llm.py", "TokensPrompt", ("prompt_token_ids",)),
        ("vllm/logprobs.py", "Logprob", ("logprob",)),
    ):
        found = _class(root / file, name)
        assert set(fields) <= {
            node.target.id
            for node in found.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }, name
    result = _class(root / "vllm/outputs.py", "RequestOutput")
    assert set(stand_in.RESULT_FIELDS) <= _arguments(result, "__init__")


def _class(file: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(file.read_text())
    [found] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    return found


def _arguments(of: ast.ClassDef, name: str) -> set[str]:
    functions: list[Any] = [n for n in of.body if isinstance(n, ast.FunctionDef) and n.name == name]
    return {a.arg for a in (*functions[-1].args.args, *functions[-1].args.kwonlyargs)}
