"""JSON over HTTP to a server that may be busy, slow, dying or not what it says it is.

Asked again, after a longer wait each time: status 408, 409, 429 and 5xx, a connection that fails or
breaks off, an answer that takes too long, is too large or is no JSON object. Every other status is
an error at once: asking again would not change it. Redirects are not followed, the key goes to the
configured server alone.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from nightshift.errors import EngineError
from nightshift.settings.generate import EngineSettings

_AGAIN = {408, 409, 429}
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds between two attempts: twice as many each time, a random half of it taken off."""
_LONGEST_ASKED_FOR = 600.0
"""A server that wants us to wait longer (Retry-After) has no capacity for this night."""
_MOST_BYTES = 8 << 20
"""Of one answer: some hundred tokens with their log-probabilities are a thousandth of it."""
_SHOWN = 200


class Refused(EngineError):
    """A status that asking again does not change."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class _Again(Exception):
    """This attempt came to nothing, another may not; with the seconds that the server asks for."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class JsonClient:
    """A server's API below one URL; safe to use from several threads. Close it: `with`."""

    def __init__(self, settings: EngineSettings) -> None:
        assert settings.url is not None
        self.url = settings.url.rstrip("/")
        self._timeout, self._retries = settings.timeout_seconds, settings.max_retries
        self._key = settings.api_key.get_secret_value() if settings.api_key else None
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for every request
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=settings.concurrency),
        )
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def stop(self) -> None:
        """Let no thread wait for another attempt: what they are asked for is lost already."""
        self._stop.set()

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the server answers with; POST if there is a body, else GET.

        Raises:
            Refused: the server does not want to, and would not the next time.
            EngineError: it could not in `max_retries` more attempts.
        """
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._attempt(path, body)
            except _Again as failed:
                wait = max(self._wait(attempts), failed.wait)
                spent = attempts > self._retries or failed.wait > _LONGEST_ASKED_FOR
                if spent or self._stop.wait(wait):
                    raise EngineError(
                        f"{self.url}/{path} gave no answer in {attempts} "
                        f"attempt{'s' if attempts > 1 else ''}: {failed}.",
                        hint="is the server up, and not overloaded? lower "
                        "generate.engine.concurrency, raise timeout_seconds or max_retries; what "
                        "was answered is kept: run again",
                    ) from failed

    def _wait(self, attempt: int) -> float:
        longest = min(_FIRST_WAIT * 2.0 ** (attempt - 1), _LONGEST_WAIT)
        return longest * (1 - random.random() / 2)

    def _attempt(self, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        method = "GET" if body is None else "POST"
        deadline = time.monotonic() + self._timeout
        try:
            with self._http.stream(method, f"{self.url}/{path}", json=body) as response:
                data = _read(response, deadline)
                status, headers = response.status_code, response.headers
        except httpx.TimeoutException:
            raise _Again(f"nothing came within {self._timeout:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Again(f"{type(error).__name__}: {self._shown(str(error))}") from None
        if status in _AGAIN or status >= 500:
            wait = _retry_after(headers.get("retry-after", ""))
            raise _Again(f"status {status} {self._shown(data.decode(errors='replace'))}", wait)
        if status != 200:
            raise self._refused(path, status, data, headers.get("location", ""))
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            raise _Again(f"no JSON: {self._shown(data.decode(errors='replace'))!r}") from None
        if not isinstance(answer, dict):
            raise _Again("JSON, but no object")
        return answer

    def _refused(self, path: str, status: int, data: bytes, location: str) -> Refused:
        said = self._shown(data.decode(errors="replace"))
        hint = {
            401: "set generate.engine.api_key (NIGHTSHIFT_GENERATE__ENGINE__API_KEY)",
            403: "may this generate.engine.api_key use the model?",
            404: "generate.engine.url ends where /completions begins (…/v1); is model_name right?",
        }.get(status, "compare the server's message with generate.engine in the settings")
        if 300 <= status < 400:
            to = urlsplit(location)
            said = f"to {to.scheme}://{to.hostname}{to.path}"
            hint = "redirects are not followed: set generate.engine.url to where the server is"
        return Refused(status, f"{self.url}/{path} refused with status {status}: {said}.", hint)

    def _shown(self, text: str) -> str:
        """What a server said, fit for a log: one short line, the key not in it."""
        if self._key:
            text = text.replace(self._key, "…")
        text = re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", text).strip()
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _read(response: httpx.Response, deadline: float) -> bytes:
    """The whole body; httpx bounds the wait for a part, this the sum of them."""
    data = bytearray()
    for part in response.iter_bytes():
        data += part
        if len(data) > _MOST_BYTES:
            raise _Again(f"more than {_MOST_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise _Again("it came too slowly")
    return bytes(data)


def _retry_after(header: str) -> float:
    """Seconds, given as such or as a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]+", header.strip()):  # str.isdigit knows others, and float does not
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
