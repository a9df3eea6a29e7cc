"""`nightshift serve`: the live model, over HTTP."""

from __future__ import annotations

import argparse

from nightshift.commands.common import Subparsers, add_command, settings_of

_DESCRIPTION = """\
Answers with the champion and follows it: when a night moves the alias, the new model is loaded
beside the old one and takes over between two requests. See docs/serving.md.

  nightshift serve                                       on 127.0.0.1:8100
  curl http://127.0.0.1:8100/health                      what is live
  curl http://127.0.0.1:8100/recommend -H 'Content-Type: application/json' \\
       -d '{"history": ["1045", "2203"], "k": 5}'         or {"user_key": "…"}
  curl http://127.0.0.1:8100/search -H 'Content-Type: application/json' \\
       -d '{"query": "oat milk", "k": 5}'
  curl 'http://127.0.0.1:8100/similar?item_id=1045&k=5'

Beyond loopback it asks for a token: NIGHTSHIFT_SERVE__TOKEN=…, and callers send
`Authorization: Bearer …`. What else can be set: `nightshift settings`, under serve.
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "serve",
        _run,
        help="answer with the live model over HTTP, and follow it",
        description=_DESCRIPTION,
    )
    parser.add_argument("--host", help="address to listen on; default: serve.host, 127.0.0.1")
    parser.add_argument(
        "--port", type=int, help="port to listen on; default: serve.port, 8100; 0: any that is free"
    )


def _run(arguments: argparse.Namespace) -> int:
    named = {"serve__host": arguments.host, "serve__port": arguments.port}
    settings = settings_of(arguments, **{k: v for k, v in named.items() if v is not None})
    from nightshift.serving.running import serve

    serve(settings)
    return 0
