"""How datasets, views and columns are called in OpenLineage's events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nightshift.settings import Settings
from nightshift_airflow.telemetry.lineage import name_in, store_name
from nightshift_airflow.telemetry.schema import columns


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("file:///data/a%20lake", ("file", "/data/a lake/plan/night=x")),
        ("s3://bucket", ("s3://bucket", "plan/night=x")),
        ("s3://bucket/deep/lake", ("s3://bucket", "deep/lake/plan/night=x")),
    ],
)
def test_names_follow_the_naming_spec(root: str, expected: tuple[str, str]) -> None:
    assert name_in(SimpleNamespace(root=root), "plan", "night=x") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        ("postgresql+psycopg2://u:p@db/shop", "postgres://db:5432"),
        ("postgresql+psycopg2://u@/shop?host=/run/pg", "postgres://%2Frun%2Fpg:5432"),
        ("postgresql+psycopg2:///shop", "postgres://localhost:5432"),
        (None, "postgres://%2F"),
    ],
)
def test_a_server_on_a_socket_is_named_by_its_folder(
    url: str | None, namespace: str, tmp_path: Any
) -> None:
    settings = Settings.load({"home": str(tmp_path), "store": {"url": url}})

    found = store_name(settings, "events_v")

    assert found[0].startswith(namespace)
    assert found[1] == "shop.nightshift.events_v"


def test_columns_of_an_arrow_schema() -> None:
    text = (
        "user_key: large_string not null\ntop: large_list<item: large_string>\n  child 0, item: x"
    )

    assert columns(text) == [
        ("user_key", "large_string not null"),
        ("top", "large_list<item: large_string>"),
    ]
