"""Migrations: repeatable, equal to the models, and careful with a shop's own views."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from nightshift.errors import UsageError
from nightshift.settings import Settings
from nightshift.store.engine import SCHEMA, begin
from nightshift.store.loaders import load
from nightshift.store.models import Base
from nightshift.store.schema import VERSION_TABLE, migrate

VIEWS = {
    "items_v": "item_id title description category brand price currency listed_at",
    "users_v": "user_id segment",
    "events_v": "event_id user_id item_id kind occurred_at recorded_at value quantity session_id",
    "searches_v": "user_id query item_id grade occurred_at",
    "reviews_v": "user_id item_id rating text occurred_at",
}


def test_migrating_twice_changes_nothing(settings: Settings) -> None:
    assert migrate(settings) == {"from": None, "to": "0003"}
    assert migrate(settings) == {"from": "0003", "to": "0003"}


def test_the_models_are_what_the_migrations_make(settings: Settings) -> None:
    def ours(name: str | None, kind: str, parents: Any) -> bool:
        return name == SCHEMA if kind == "schema" else name != VERSION_TABLE["version_table"]

    migrate(settings)
    with begin(settings) as connection:
        options = {"include_schemas": True, "include_name": ours, **VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_the_contract_views_have_the_contract_columns(settings: Settings) -> None:
    migrate(settings)
    with begin(settings) as connection:
        found = {
            view: " ".join(
                column["name"] for column in inspect(connection).get_columns(view, SCHEMA)
            )
            for view in VIEWS
        }
    assert found == VIEWS


def test_a_shops_own_view_survives_and_is_not_loaded_behind(settings: Settings) -> None:
    with begin(settings) as connection:
        connection.execute(text("create schema nightshift"))
        connection.execute(
            text("create table orders (id text, who text, what text, at timestamptz)")
        )
        connection.execute(
            text(
                "create view nightshift.events_v as select id as event_id, who as user_id,"
                " what as item_id, 'purchase' as kind, at as occurred_at,"
                " null::timestamptz as recorded_at, null::numeric as value,"
                " 1 as quantity, null::text as session_id from orders"
            )
        )
    migrate(settings)
    with begin(settings) as connection:
        definition = connection.execute(
            text("select pg_get_viewdef('nightshift.events_v')")
        ).scalar()
        assert "orders" in str(definition)
    with pytest.raises(UsageError, match="own tables"):
        load("complete-journey", settings, households=1)
