"""Who may ask, and how much: in front of everything that reads a request.

A plain ASGI layer, so that nothing of an unauthorised request is read, and no route can be
forgotten.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightshift.errors import Unprotected, UsageError
from nightshift.settings import ServeSettings

OPEN = ("/health",)
LOCAL_NAMES = (b"127.0.0.1", b"localhost", b"[::1]")
_TOO_LARGE = 413
_JSON = (b"content-type", b"application/json")


class Guard:
    """Asks for the bearer token, and bounds the body."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self.app = app
        self.most = settings.max_body_kb * 1024
        token = settings.token
        self._expected = None if token is None else b"Bearer " + token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] not in OPEN and not self._may(headers.get(b"authorization", b"")):
            said = "send the server's token: Authorization: Bearer …"
            await _refuse(send, 401, said, (b"www-authenticate", b"Bearer"))
            return
        if self._expected is None and not _is_local(headers.get(b"host", b"")):
            said = "without a token the server answers to 127.0.0.1 and localhost alone"
            await _refuse(send, 403, said)
            return
        body = await self._body(receive, headers.get(b"content-length", b"0"))
        if body is None:
            said = f"a request has at most {self.most // 1024} kB"
            await _refuse(send, _TOO_LARGE, said, (b"connection", b"close"))
            return
        await self.app(scope, _replay(body, receive), send)

    def _may(self, given: bytes) -> bool:
        # In constant time: how long it takes says nothing of how much is right.
        return self._expected is None or hmac.compare_digest(given, self._expected)

    async def _body(self, receive: Receive, announced: bytes) -> bytes | None:
        """The whole body; None as soon as it is too large, whatever was announced."""
        if not announced.isdigit() or int(announced) > self.most:
            return None
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                break  # the caller has gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most:
                return None
            more = message.get("more_body", False)
        return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands on what was read already, then what comes after it."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_local(host: bytes) -> bool:
    """Whether it is this machine by name: a page whose own name was made to point here is not."""
    name = host.rpartition(b":")[0] if host[-1:] != b"]" and b":" in host else host
    return name.lower() in LOCAL_NAMES


async def _refuse(send: Send, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, *headers]})
    body = json.dumps({"detail": detail}, ensure_ascii=False).encode()
    await send({"type": "http.response.body", "body": body})


def check_exposure(settings: ServeSettings) -> None:
    """A server that others than this machine can reach needs a token.

    Raises:
        Unprotected: it has none.
        UsageError: the host is no address, and no name of one.
    """
    try:
        found = socket.getaddrinfo(settings.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(
            f"serve.host {settings.host!r} is no address of this machine: {error}.",
            hint="use 127.0.0.1, 0.0.0.0 or the address of an interface",
        ) from None
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    reachable = [one for one in addresses if not ipaddress.ip_address(one).is_loopback]
    if reachable and settings.token is None:
        raise Unprotected(
            f"Without a token the server does not listen on {settings.host}: others than this "
            "machine could ask it what customers bought.",
            hint="set NIGHTSHIFT_SERVE__TOKEN (16 characters or more), or --host 127.0.0.1",
        )
