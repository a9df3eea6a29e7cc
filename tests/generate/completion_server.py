"""A strict stand-in for a server of /v1/completions, which fails as it is told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret"
_KNOWN = {
    *("model", "prompt", "max_tokens", "temperature", "top_p", "stop", "top_k", "min_p", "seed"),
    *("n", "logprobs", "echo", "structured_outputs", "grammar"),
}

Fault = Callable[["Handler"], bool]
"""Does something to a request; True: that was the answer."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[Fault] = []
        """One for each request to /completions, the first one first; then it is well."""
        self.bodies: list[dict[str, Any]] = []
        self.models: Any = {"data": [{"id": "echo-1", "created": time.time(), "root": "r"}]}
        self.models_status = 200
        self.models_asked = 0
        self.knows_n = True
        self.at_once, self.most_at_once = 0, 0
        self.lock = threading.Lock()
        self.gone = threading.Event()
        """Set at the end: what hangs may go."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        assert self.path == "/v1/models", self.path
        self.server.models_asked += 1
        self.reply(self.server.models_status, self.server.models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/completions", self.path
        assert set(body) <= _KNOWN, set(body) - _KNOWN
        assert isinstance(body["prompt"], str)
        with self.server.lock:
            self.server.bodies.append(body)
            fault = self.server.faults.pop(0) if self.server.faults else None
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                self.reply(401, {"error": f"wrong key {self.headers.get('Authorization')}"})
            elif fault is None or not fault(self):
                self.reply(200, completion(body, knows_n=self.server.knows_n))
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def reply(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(body: dict[str, Any], *, knows_n: bool = True) -> dict[str, Any]:
    """What a sound server says: the last word of the prompt, the seed and the number."""
    if body.get("echo"):
        return echo(body["prompt"])
    count = body["n"] if knows_n else 1
    word = body["prompt"].split()[-1]
    choices = [
        {"index": i, "text": f" {word} {body['seed']} {i}\nmore", "finish_reason": "stop"}
        for i in range(count)
    ]
    used = {"completion_tokens": 3 * count, "prompt_tokens": len(body["prompt"].split())}
    return {"object": "text_completion", "choices": choices[::-1], "usage": used}


def echo(prompt: str, known: float = -0.1) -> dict[str, Any]:
    """Log-probabilities of the prompt's words (`known` for a word that was there before, minus its
    length for a new one) and of one new token."""
    words = [*re.findall(r"\s*\S+", prompt), " new"]
    values = [known if w in words[:i] else -float(len(w)) for i, w in enumerate(words)]
    offsets = [sum(map(len, words[:i])) for i in range(len(words))]
    logprobs = {"tokens": words, "text_offset": offsets, "token_logprobs": [None, *values[1:]]}
    return {"choices": [{"index": 0, "text": prompt, "logprobs": logprobs}]}


def says(status: int, body: Any = b"{}", **headers: str) -> Fault:
    def fault(handler: Handler) -> bool:
        handler.reply(status, body, **headers)
        return True

    return fault


def hangs(handler: Handler) -> bool:
    """Takes the question and never says a word."""
    handler.server.gone.wait(30)
    handler.close_connection = True
    return True


def drips(handler: Handler) -> bool:
    """A byte now and then: no single wait is long, the whole would take for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.gone.wait(0.05):
        handler.wfile.write(b" ")
    handler.close_connection = True
    return True


def breaks_off(handler: Handler) -> bool:
    """Half of a good answer, then the line is dead."""
    data = json.dumps({"choices": [{"index": 0, "text": "half of"}]}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    handler.close_connection = True
    return True


def hangs_up(handler: Handler) -> bool:
    """Not even a status."""
    handler.close_connection = True
    return True


@contextmanager
def serving() -> Iterator[Server]:
    """A server on loopback, gone afterwards."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
        thread.join()
