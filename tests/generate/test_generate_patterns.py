"""The shape of an answer: told to servers that can keep to it, and to nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from completion_server import KEY, Server, serving

from conftest import sources_of
from nightshift.generate.chunks import chunk_key
from nightshift.generate.customers.visits import VISIT_PATTERN, shipped_visits
from nightshift.generate.engines.grammar import gbnf, whole_line
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.bases.prompted import PromptedStrategy
from nightshift.generate.text.profiles import PROFILE_PATTERN, shipped_profiles
from nightshift.generate.text.queries import QUERY_PATTERN, shipped_pairs
from nightshift.lake import Lake
from nightshift.settings import Settings

SHAPED = {
    "llm_queries": QUERY_PATTERN,
    "llm_profiles": PROFILE_PATTERN,
    "llm_history": VISIT_PATTERN,
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def strategy_of(
    name: str, lake: Lake, settings: Settings, server: Server, structured: str
) -> PromptedStrategy:
    engine = {"name": "openai", "url": server.url, "api_key": KEY, "structured": structured}
    strategy = create_strategy(
        name, sources_of(lake, settings.with_({"generate": {"engine": engine}}))
    )
    assert isinstance(strategy, PromptedStrategy)
    return strategy


@pytest.mark.parametrize("name", [*SHAPED, "llm_descriptions"])
def test_a_pattern_is_sent_where_the_server_is_said_to_take_it(
    name: str, lake: Lake, settings: Settings, server: Server
) -> None:
    line = whole_line(SHAPED.get(name, ""))
    told: dict[str, dict[str, Any]] = {
        "none": {},
        "vllm": {"structured_outputs": {"regex": line}},
        "llama.cpp": {"grammar": gbnf(line)},
    }
    texts = {}
    for structured, expected in told.items():
        server.bodies.clear()
        strategy = strategy_of(name, lake, settings, server, structured)
        texts[structured] = strategy.generate(strategy.plan(4).head(2)).samples["text"]
        assert server.bodies
        for body in server.bodies:
            sent = {key: body[key] for key in ("structured_outputs", "grammar") if key in body}
            assert sent == (expected if name in SHAPED else {})
    # The stand-in writes what it writes: strict reading is the same with and without.
    assert texts["none"] == texts["vllm"] == texts["llama.cpp"]


@pytest.mark.parametrize("name", SHAPED)
def test_a_chunk_depends_on_the_pattern_only_where_the_server_takes_it(
    name: str, lake: Lake, settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for structured, depends in (("none", False), ("vllm", True)):
        strategy = strategy_of(name, lake, settings, server, structured)
        targets = strategy.plan(4).head(2)
        with_it = chunk_key(strategy, targets)
        with monkeypatch.context() as patched:
            patched.setattr(type(strategy), "pattern", None)
            assert (chunk_key(strategy, targets) != with_it) == depends


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (QUERY_PATTERN, [pair.query for pair in shipped_pairs()]),
        (PROFILE_PATTERN, [shot["interests"] for shot in shipped_profiles()]),
        (VISIT_PATTERN, [shot["searches"] for shot in shipped_visits()]),
        (QUERY_PATTERN, ["müsli ohne zucker", "красный шарф", "针织围巾 女", "men's 2.5% l/xl"]),
        (PROFILE_PATTERN, ["grüner tee, кофе, 针织围巾", "cat food"]),
    ],
    ids=["queries", "profiles", "visits", "queries of the world", "profiles of the world"],
)
def test_what_is_wanted_has_the_shape(pattern: str, lines: list[str]) -> None:
    assert lines
    assert [line for line in lines if not re.fullmatch(pattern, f" {line}")] == []
    assert gbnf(whole_line(pattern)) is not None


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (QUERY_PATTERN, " Search: red scarf"),
        (QUERY_PATTERN, " a b c d e f g h i"),
        (QUERY_PATTERN, " red scarf\nProduct"),
        (QUERY_PATTERN, ""),
        (PROFILE_PATTERN, " mugs: red"),
        (PROFILE_PATTERN, " a, b, c, d, e, f, g"),
        (PROFILE_PATTERN, " what a customer of this shop likes"),
        (VISIT_PATTERN, " red scarf"),
    ],
)
def test_what_would_be_dropped_has_not(pattern: str, line: str) -> None:
    assert not re.fullmatch(pattern, line)
