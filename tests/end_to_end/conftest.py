"""The small shop with fewer products still: its catalogue is encoded within seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from whole_nights import Shops

from nightshift.settings import Settings
from nightshift.store.engine import begin

TEMPLATE = "tiny_shop"
SALES = 14
"""Products sold less often are left out."""


@pytest.fixture(scope="session")
def tiny_template(server, _small_shop_template: str) -> str:
    server.run(f"create database {TEMPLATE} template {_small_shop_template}")
    with begin(Settings(store={"url": server.url(TEMPLATE)})) as connection:
        keep_popular(connection)
    return TEMPLATE


def keep_popular(connection) -> None:
    rare = "select item_id from nightshift.events group by item_id having count(*) < :sales"
    for table in ("items", "events"):
        statement = text(f"delete from nightshift.{table} where item_id in ({rare})")
        connection.execute(statement, {"sales": SALES})


@pytest.fixture(scope="module")
def shops(server, tiny_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    made = Shops(server, tiny_template, tmp_path_factory)
    yield made
    for name in made.databases:
        server.run(f"drop database {name} with (force)")
