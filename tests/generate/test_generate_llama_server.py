"""The `openai` engine against a real server: llama-cpp-python's, with the model of the wheel.

It is no package of the lock. Name a Python that has `llama-cpp-python[server]` in
NIGHTSHIFT_TEST_LLAMA_SERVER, or install it beside the project.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import make_settings
from nightshift.errors import EngineError
from nightshift.generate.engines import create
from nightshift.generate.engines.base import Engine, Sampling
from nightshift.generate.engines.cached import CachedEngine
from nightshift.generate.engines.model_files import model_source
from nightshift.generate.text.queries import shipped_pairs
from nightshift.generate.text.templates import template
from nightshift.lake import Lake
from nightshift.settings import Settings

VARIABLE = "NIGHTSHIFT_TEST_LLAMA_SERVER"
STARTS_SECONDS = 120.0
QUERIES = template("search_queries")
PREFIX = QUERIES.prefix(
    [{"text": p.text, "query": p.query, "intent": p.intent} for p in shipped_pairs()[:3]]
)
PROMPTS = [
    QUERIES.prompt({"text": t, "intent": "attribute"})
    for t in ("frozen garden peas 1 kg", "red wool scarf for women")
]


def server_python() -> str:
    named = os.environ.get(VARIABLE)
    if named:
        return named
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip(f"no llama-cpp-python here, and {VARIABLE} names no Python that has it")
    return sys.executable


@pytest.fixture(scope="module")
def server_settings(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("llama")
    (home / "models").symlink_to(models)
    base = make_settings(home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python, model = server_python(), model_source(base).path
    command = [python, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--n_ctx", "2048", "--n_threads", "1", "--logits_all", "true"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    try:
        url = f"http://127.0.0.1:{port}/v1"
        _wait(url, process, home / "server.log")
        engine = {
            "name": "openai",
            "url": url,
            "concurrency": 2,
            "structured": "llama.cpp",
        }
        yield base.with_({"generate": {"engine": engine}})
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


@pytest.fixture(scope="module")
def engine(server_settings: Settings) -> Engine:
    return create(server_settings)


def test_real_lines_about_the_product(engine: Engine) -> None:
    made = engine.generate(PROMPTS, Sampling(max_new_tokens=8, temperature=0), prefix=PREFIX)
    assert "pea" in made.texts[0][0].lower()
    assert "scarf" in made.texts[1][0].lower()
    assert 2 <= made.tokens <= 18
    assert made.prompt_tokens > 100
    assert "SmolLM2" in engine.model["name"]


def test_the_seed_decides_and_every_continuation_has_its_own(engine: Engine) -> None:
    how = Sampling(max_new_tokens=8, temperature=0.9, per_prompt=4, seed=3)
    first = engine.generate(PROMPTS, how, prefix=PREFIX)
    assert [len(texts) for texts in first.texts] == [4, 4]
    assert len(set(first.texts[0])) > 1
    assert engine.generate(PROMPTS[1:], how, prefix=PREFIX).texts == first.texts[1:]
    other = Sampling(max_new_tokens=8, temperature=0.9, per_prompt=4, seed=4)
    assert engine.generate(PROMPTS, other, prefix=PREFIX).texts != first.texts


def test_a_pattern_is_kept_to(engine: Engine) -> None:
    pattern = r"[a-z]{3,9}( [a-z]{3,9})?: (cheap|dear) \d\.\d{2}"
    how = Sampling(max_new_tokens=24, temperature=0.8, per_prompt=2, seed=1, pattern=pattern)
    lines = [line for texts in engine.generate(PROMPTS, how).texts for line in texts]
    assert len(lines) == 4
    assert all(re.fullmatch(pattern, line) for line in lines), lines


def test_its_scores_are_those_of_other_tokens_and_found_out(engine: Engine) -> None:
    """llama-cpp-python reads each token's log-probability one place too late; a release that does
    not fails this test, and then its scores can be compared with the model's own."""
    with pytest.raises(EngineError, match="they are of other tokens than they say"):
        engine.score([PREFIX + PROMPTS[0]], [" frozen peas"])


def test_through_the_cache_the_server_is_asked_once(
    server_settings: Settings, tmp_path: Path
) -> None:
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    how = Sampling(max_new_tokens=8, temperature=0.7, per_prompt=2, seed=3)
    made = CachedEngine(create(server_settings), lake).generate(PROMPTS, how, prefix=PREFIX)
    again = CachedEngine(create(server_settings), lake).generate(PROMPTS, how, prefix=PREFIX)
    assert (made.cached, again.cached) == (0, 2)
    assert again.texts == made.texts
    assert again.tokens == made.tokens
