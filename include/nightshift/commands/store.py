"""`nightshift store start|stop|status|url|migrate`: the event store and the embedded server."""

from __future__ import annotations

import argparse

from nightshift.commands.common import Subparsers, add_command, emit, settings_of

_ACTIONS = {
    "start": "start the embedded server, unless it runs; it goes on running",
    "stop": "stop the embedded server cleanly",
    "status": "does the embedded server run, and where",
    "url": "the store's SQLAlchemy URL, password masked",
    "migrate": "bring the store to the newest schema",
}


def register(subparsers: Subparsers) -> None:
    store = subparsers.add_parser(
        "store",
        help="the event store: start, stop, status, url, migrate",
        description="The event store, and the embedded Postgres server when no other is named.",
    )
    actions = store.add_subparsers(dest="what", metavar="ACTION", required=True)
    for name, title in _ACTIONS.items():
        parser = add_command(actions, name, _run, help=title)
        if name == "url":
            parser.add_argument("--database", help="another database on the embedded server")
            parser.add_argument(
                "--show-password", action="store_true", help="do not mask the password"
            )


def _run(arguments: argparse.Namespace) -> int:
    from nightshift.store import embedded

    settings = settings_of(arguments)
    if arguments.what == "start":
        started = embedded.start(settings)
        emit(arguments, {"started": started, **embedded.status(settings)})
    elif arguments.what == "stop":
        emit(arguments, {"stopped": embedded.stop(settings)})
    elif arguments.what == "status":
        emit(arguments, embedded.status(settings))
    elif arguments.what == "migrate":
        from nightshift.store.schema import migrate

        emit(arguments, migrate(settings))
    else:
        print(_url(arguments))
    return 0


def _url(arguments: argparse.Namespace) -> str:
    from nightshift.store.embedded import url_for
    from nightshift.store.engine import url_of

    settings = settings_of(arguments)
    if arguments.database:
        return url_for(settings, arguments.database)
    return url_of(settings).render_as_string(hide_password=not arguments.show_password)
