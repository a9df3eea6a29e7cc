"""An OpenAI-compatible server that is busy, slow, dying, lying: counted, retried, nothing lost."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from completion_server import (
    KEY,
    Handler,
    Server,
    breaks_off,
    completion,
    drips,
    echo,
    hangs,
    hangs_up,
    says,
    serving,
)

from factories import make_settings
from nightshift.errors import EngineError, SettingsError
from nightshift.generate.engines import create, http_client, openai_engine
from nightshift.generate.engines.adapter import Adapter
from nightshift.generate.engines.base import Engine, Sampling
from nightshift.generate.engines.cached import CachedEngine
from nightshift.generate.engines.completions import text_of
from nightshift.lake import Lake
from nightshift.settings import Settings

THREE = Sampling(max_new_tokens=8, temperature=0.7, per_prompt=3, seed=1)
ONE = Sampling(max_new_tokens=8, temperature=0, seed=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    with serving() as running:
        yield running


def openai(tmp_path: Path, server: Server, **changes: Any) -> Settings:
    engine = {
        "name": "openai",
        "url": server.url,
        "api_key": KEY,
        "timeout_seconds": 0.5,
        "max_retries": 3,
        **changes,
    }
    return make_settings(tmp_path).with_({"generate": {"engine": engine}})


@pytest.fixture
def engine(server: Server, tmp_path: Path) -> Engine:
    return create(openai(tmp_path, server))


def test_lines_come_back_in_order_with_what_they_cost(engine: Engine, server: Server) -> None:
    made = engine.generate(["red scarf", "peas"], THREE, prefix="List:\n")
    assert [[t.split()[0] for t in texts] for texts in made.texts] == [["scarf"] * 3, ["peas"] * 3]
    assert [t.split()[2] for t in made.texts[0]] == ["0", "1", "2"]
    assert (made.tokens, made.prompt_tokens) == (18, 5)
    assert made.tokens_of == ((9, 3), (9, 2))
    assert {body["prompt"] for body in server.bodies} == {"List:\nred scarf", "List:\npeas"}
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["stop"]) == ("echo-1", 8, ["\n"])
    assert (body["temperature"], body["top_k"], body["n"]) == (0.7, 50, 3)


def test_an_answer_does_not_depend_on_who_else_is_asked(engine: Engine, server: Server) -> None:
    both = engine.generate(["red scarf", "peas"], THREE)
    alone = engine.generate(["peas"], THREE)
    assert alone.texts == [both.texts[1]]
    server.knows_n = False  # as llama.cpp's: one choice whatever is asked
    one_by_one = engine.generate(["peas"], THREE).texts[0]
    assert len({text.split()[1] for text in one_by_one}) == 3  # a seed each
    assert engine.generate(["peas"], THREE).texts == [one_by_one]
    assert engine.generate(["peas"], ONE).texts == engine.generate(["peas"], ONE).texts


@pytest.mark.parametrize(
    "fault",
    [
        says(429, {"error": "slow down"}),
        says(500),
        says(503, b"<html>bad gateway</html>", Retry_After="0"),
        says(200, b"<html>hello</html>"),
        says(200, b"[1, 2]"),
        says(200, b"[" * 100_000),
        says(200, {"choices": []}),
        says(200, {"choices": [{"message": "chat"}]}),
        says(200, b"x" * (9 << 20)),
        hangs,
        drips,
        echo,
        breaks_off,
        hangs_up,
    ],
    ids=lambda fault: getattr(fault, "__name__", ""),
)
def test_what_may_pass_is_asked_again(fault: Any, engine: Engine, server: Server) -> None:
    sound = engine.generate(["peas"], ONE).texts
    server.faults = [fault, fault]
    assert engine.generate(["peas"], ONE).texts == sound
    assert len(server.bodies) == 4
    assert server.bodies[0] == server.bodies[-1]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (None, ""),
        (17, ""),
        ("y" * 1_000_000, ""),
        ("\ud800 lone\nrest", "? lone"),
        ("\x00\x1b[31m", "\x00\x1b[31m"),
        ("", ""),
    ],
)
def test_a_text_that_is_none_is_an_empty_answer(
    text: Any, read: str, engine: Engine, server: Server
) -> None:
    """Counted as what does not parse; the same seed would give it again."""
    server.faults = [says(200, {"choices": [{"index": 0, "text": text}], "usage": None})]
    made = engine.generate(["peas"], ONE)
    assert made.texts == [[read]]
    assert made.tokens == -(-len(read) // 4)
    assert len(server.bodies) == 1


def test_retries_end_in_an_error_with_the_place_and_the_way_out(
    engine: Engine, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = [says(503, f"overloaded, {KEY}".encode())] * 99
    with pytest.raises(EngineError, match="gave no answer in 4 attempts: status 503") as failed:
        engine.generate(["peas"], ONE)
    assert f"{server.url}/completions" in str(failed.value)
    assert "concurrency" in failed.value.hint
    assert KEY not in failed.value.as_json() + caplog.text + str(engine.identity)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_an_error_at_once(
    status: int, engine: Engine, server: Server
) -> None:
    server.faults = [says(status, {"error": "no\x1b[2J \n such"})]
    with pytest.raises(EngineError, match=f"refused with status {status}") as failed:
        engine.generate(["peas"], ONE)
    assert len(server.bodies) == 1
    assert "\x1b" not in str(failed.value)


def test_a_redirect_is_not_followed(engine: Engine, server: Server) -> None:
    server.faults = [says(307, Location=f"http://user:pw@127.0.0.1:1/else?key={KEY}")]
    with pytest.raises(EngineError, match=r"to http://127\.0\.0\.1/else") as failed:
        engine.generate(["peas"], ONE)
    assert "pw" not in str(failed.value)
    assert KEY not in str(failed.value)


@pytest.mark.parametrize("as_date", [False, True])
def test_it_waits_as_long_as_the_server_asks(as_date: bool, engine: Engine, server: Server) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2.5)
    wait = format_datetime(soon, usegmt=True) if as_date else "1"
    server.faults = [says(429, Retry_After=wait)]
    started = time.monotonic()
    engine.generate(["peas"], ONE)
    assert time.monotonic() - started >= 0.95


def test_a_server_that_wants_hours_is_an_error(engine: Engine, server: Server) -> None:
    server.faults = [says(429, Retry_After="7200")]
    with pytest.raises(EngineError, match="1 attempt: status 429"):
        engine.generate(["peas"], ONE)


def test_no_more_requests_at_once_than_allowed(server: Server, tmp_path: Path) -> None:
    def slow(handler: Handler) -> bool:
        time.sleep(0.05)
        return False

    server.faults = [slow] * 30
    create(openai(tmp_path, server, concurrency=3)).generate([f"q{i}" for i in range(30)], ONE)
    assert server.most_at_once == 3


def test_what_was_answered_before_the_server_died_is_not_asked_again(
    server: Server, tmp_path: Path
) -> None:
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    settings = openai(tmp_path, server, concurrency=1, max_retries=1)

    def sound(handler: Handler) -> bool:
        handler.reply(200, completion(handler.server.bodies[-1]))
        return True

    server.faults = [sound, sound, breaks_off, hangs_up]
    prompts = [f"q{i}" for i in range(5)]
    with pytest.raises(EngineError, match="gave no answer"):
        CachedEngine(create(settings), lake).generate(prompts, ONE)
    before = len(server.bodies)
    server.faults.clear()
    made = CachedEngine(create(settings), lake).generate(prompts, ONE)
    assert [t[0].split()[0] for t in made.texts] == prompts
    assert made.cached >= 2
    assert len(server.bodies) - before == 5 - made.cached


@pytest.mark.parametrize("stop", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_what_was_answered_is_kept_whatever_stops_it(
    stop: BaseException, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    settings = openai(tmp_path, server, concurrency=1)

    def reads(choice: Any, sampling: Sampling) -> str:
        if "q2" in choice["text"]:
            raise stop
        return text_of(choice, sampling)

    monkeypatch.setattr(openai_engine, "text_of", reads)
    prompts = [f"q{i}" for i in range(50)]
    with pytest.raises((EngineError, KeyboardInterrupt)) as failed:
        CachedEngine(create(settings), lake).generate(prompts, ONE)
    # A signal to this process is handed on as it is, anything else names its place.
    assert isinstance(failed.value, KeyboardInterrupt) == isinstance(stop, KeyboardInterrupt)
    assert "bug" in str(failed.value.__cause__.__cause__) or failed.value is stop
    assert len(server.bodies) < 10  # what was waiting is not asked any more
    monkeypatch.undo()
    made = CachedEngine(create(settings), lake).generate(prompts, ONE)
    assert made.cached >= 2
    assert [t[0].split()[0] for t in made.texts] == prompts


@pytest.mark.parametrize("count", [10**30, -1, True, "7", 1e300])
def test_a_count_of_tokens_that_is_none_is_not_believed(
    count: Any, server: Server, tmp_path: Path
) -> None:
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    used = {"completion_tokens": count, "prompt_tokens": count}
    server.faults = [says(200, {"choices": [{"index": 0, "text": "scarf"}], "usage": used})]
    made = CachedEngine(create(openai(tmp_path, server)), lake).generate(["peas"], ONE)
    assert (made.tokens, made.prompt_tokens) == (2, 1)


@pytest.mark.parametrize(
    "header",
    ["\u00b2", "-1", "nan", "9" * 400, "Mon, 01 Jan 0001 00:00:00 +2359", f"Mon, 01 Jan {10**20}"],
)
def test_a_wait_that_is_none_is_not_a_foreign_error(
    header: str, server: Server, tmp_path: Path
) -> None:
    server.faults = [says(503, Retry_After=header)]
    engine = create(openai(tmp_path, server))
    if header.startswith("99"):
        with pytest.raises(EngineError, match="1 attempt: status 503"):
            engine.generate(["peas"], ONE)
    else:
        assert engine.generate(["peas"], ONE).texts
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "logprobs",
    [
        {"text_offset": ["x", None], "token_logprobs": [None, -1.0]},
        {"text_offset": [0, 5], "token_logprobs": [None, float("nan")]},
        {"text_offset": [0, 5], "token_logprobs": [None, float("-inf")]},
        {"text_offset": [0, 5], "token_logprobs": [None, -(10**400)]},
        {"text_offset": [0, 5], "token_logprobs": [None, "-1"]},
        {"text_offset": [0, 5], "token_logprobs": [None, True]},
        {"text_offset": [0, 5, 11], "token_logprobs": [None, -1.0]},
    ],
)
def test_scores_that_are_no_numbers_are_asked_again_and_never_kept(
    logprobs: Any, server: Server, tmp_path: Path
) -> None:
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    garbage = says(200, {"choices": [{"index": 0, "text": "", "logprobs": logprobs}]})

    def sound(handler: Handler) -> bool:
        return False

    engine = CachedEngine(create(openai(tmp_path, server)), lake)
    server.faults = [sound, garbage]  # the first one asks whether there are scores at all
    assert engine.score(["find:"], [" scarf"]).tolist() == [-6.0]
    server.faults = [garbage] * 99
    with pytest.raises(EngineError, match="no completion, 4 times"):
        engine.score(["find:"], [" red"])
    server.faults = []
    assert engine.score(["find:"], [" red"]).tolist() == [-4.0]


def test_scores_come_from_the_echo(engine: Engine, server: Server) -> None:
    scores = engine.score(["find:", "find: red"], [" red scarf", " scarf"])
    assert scores.tolist() == [-4.0 - 6.0, -6.0]
    body = server.bodies[-1]
    assert (body["prompt"], body["echo"], body["max_tokens"]) == ("find: red scarf", True, 1)


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": [{"index": 0, "text": "", "logprobs": None}]},
        {"choices": [{"index": 0, "text": "", "logprobs": {"token_logprobs": [-1]}}]},
        echo(" red house over there" * 4, known=-9.0),
    ],
    ids=["none", "without offsets", "of other places"],
)
def test_a_server_without_sound_scores_is_found_out(
    reply: Any, engine: Engine, server: Server
) -> None:
    server.faults = [says(200, reply)]
    with pytest.raises(EngineError, match="gives no log-probabilities") as failed:
        engine.score(["find:"], [" red scarf"])
    assert "ctranslate2" in failed.value.hint
    assert len(server.bodies) == 1


def test_who_it_is(server: Server, tmp_path: Path) -> None:
    engine = create(openai(tmp_path, server))
    assert engine.identity["model"] == {"id": "echo-1", "root": "r"}  # not when it was started
    server.models["data"][0]["root"] = "another checkpoint"
    assert create(openai(tmp_path, server)).identity != engine.identity
    server.models["data"].append({"id": "echo-2"})
    with pytest.raises(EngineError, match="serves echo-1, echo-2"):
        _ = create(openai(tmp_path, server)).identity
    named = create(openai(tmp_path, server, model_name="echo-2"))
    assert named.model["name"] == "echo-2"
    assert named.identity["model"] == {"id": "echo-2"}


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_gateway_that_lists_no_models_serves_the_one_that_is_named(
    status: int, server: Server, tmp_path: Path
) -> None:
    server.models_status = status
    named = create(openai(tmp_path, server, model_name="echo-2"))
    assert named.generate(["peas"], ONE).texts[0][0].startswith(" peas")
    assert server.bodies[0]["model"] == named.model["name"] == "echo-2"
    assert named.identity["model"] == {"id": "echo-2"}
    assert server.models_asked == 0
    with pytest.raises(EngineError) as failed:
        _ = create(openai(tmp_path, server)).identity
    assert ("model_name" if status > 403 else "api_key") in failed.value.hint


def test_what_is_remembered_of_a_named_model_is_found_while_its_server_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "_FIRST_WAIT", 0.01)
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path)
    with serving() as server:
        settings = openai(tmp_path, server, model_name="echo-1", max_retries=0)
        made = CachedEngine(create(settings), lake).generate(["peas"], THREE)
        known = create(settings).identity
    later = CachedEngine(create(settings), lake)
    assert (later.identity, later.model["name"]) == (known, "echo-1")
    assert later.generate(["peas"], THREE).texts == made.texts
    with pytest.raises(EngineError, match="gave no answer"):
        later.generate(["beans"], THREE)


def test_two_gateways_under_one_host_share_no_answers(tmp_path: Path, server: Server) -> None:
    one, other, slash = (
        create(openai(tmp_path, server, model_name="m", url=server.url.replace("/v1", path)))
        for path in ("/a/v1", "/b/v1", "/a/v1/")
    )
    assert one.identity != other.identity
    assert one.model["digest"] != other.model["digest"]
    assert one.identity == slash.identity


def test_no_url_no_engine_and_no_secrets_in_a_url(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no URL"):
        create(make_settings(tmp_path).with_({"generate": {"engine": {"name": "openai"}}}))
    for url in ("http://user:pw@host/v1", "http://host/v1?key=pw", "ftp://host", "host:80"):
        with pytest.raises(SettingsError) as failed:
            make_settings(tmp_path).with_({"generate": {"engine": {"url": url}}})
        assert "pw" not in str(failed.value)


def test_an_adapter_is_left_out_and_said_so(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = Adapter("ab" * 32, lambda: tmp_path)
    engine = create(openai(tmp_path, server), adapter=adapter)
    assert "the server serves what it serves" in caplog.text
    assert "adapter" not in engine.model


def test_a_pattern_is_told_as_the_server_takes_it(server: Server, tmp_path: Path) -> None:
    shaped = Sampling(temperature=0, pattern="(yes|no)")
    for structured, told in (
        ("none", {}),
        ("vllm", {"structured_outputs": {"regex": r"((yes|no))\n?"}}),
        ("llama.cpp", {"grammar": r'root ::= ("yes" | "no") ("\n")?'}),
    ):
        engine = create(openai(tmp_path, server, structured=structured))
        assert engine.constrains(shaped) == bool(told)
        assert not engine.constrains(ONE)
        engine.generate(["q"], shaped)
        body = server.bodies[-1]
        assert {k: v for k, v in body.items() if k in ("structured_outputs", "grammar")} == told


def test_parsing_the_dags_imports_no_http_client() -> None:
    code = "import sys, nightshift.generate.engines; print('httpx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
