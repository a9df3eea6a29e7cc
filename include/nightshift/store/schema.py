"""Migrations, run by the program itself: `nightshift store migrate`, and before every load."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from nightshift.store.engine import SCHEMA, begin

if TYPE_CHECKING:
    from alembic.config import Config

    from nightshift.settings import Settings

_LOCK = 0x6E69676874  # any number of ours: two processes that migrate at once take turns
VERSION_TABLE = {"version_table": "schema_version", "version_table_schema": SCHEMA}


def migrate(settings: Settings) -> dict[str, Any]:
    """Bring the store to the newest schema; nothing happens when it is there.

    Raises:
        StoreError: the store cannot be reached, or lets us make no schema.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it speaks up while being imported
    from alembic import command
    from alembic.script import ScriptDirectory

    with begin(settings) as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = version(connection)
        config = config_for(connection)
        newest = ScriptDirectory.from_config(config).get_current_head()
        if before != newest:
            connection.execute(text(f"create schema if not exists {SCHEMA}"))
            command.upgrade(config, "head")
    return {"from": before, "to": newest}


def version(connection: Connection) -> str | None:
    """The schema's version, None for an empty store."""
    from alembic.runtime.migration import MigrationContext

    found = MigrationContext.configure(connection, opts=dict(VERSION_TABLE)).get_current_revision()
    return None if found is None else str(found)


def config_for(connection: Connection) -> Config:
    """Alembic's configuration, without a file: the migrations ship inside the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
