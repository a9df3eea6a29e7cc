"""The process: its socket, its server, its end."""

from __future__ import annotations

import logging
import socket

import uvicorn

from nightshift.errors import UsageError
from nightshift.serving.app import create_app
from nightshift.serving.guard import check_exposure
from nightshift.settings import ServeSettings, Settings

log = logging.getLogger("nightshift.serve")

_WAITING = 2048
"""Connections that the kernel holds until they are accepted."""
_GRACE_SECONDS = 30
"""What is under way at the end is answered, within this."""


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests under way are answered first.

    Raises:
        Unprotected: beyond loopback without a token.
        UsageError: nothing can listen there.
    """
    check_exposure(settings.serve)
    with _listen(settings.serve) as listening:
        host, port = listening.getsockname()[:2]
        where = f"[{host}]" if ":" in host else host
        log.info("listening on http://%s:%d", where, port)
        config = uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            limit_concurrency=settings.serve.max_connections,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_WAITING)
    except OSError as error:
        raise UsageError(
            f"Nothing can listen on {settings.host}, port {settings.port}: {error.strerror}.",
            hint="stop what does already, or choose another: --port 8101",
        ) from None
