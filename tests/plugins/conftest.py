"""Airflow in a home of its own, and its settings read anew in every test."""

from __future__ import annotations

from collections.abc import Iterator

import airflow_for_tests  # noqa: F401  # first: it sets Airflow's home
import pytest

from nightshift_airflow.settings import airflow_settings


@pytest.fixture(autouse=True)
def _fresh_airflow_settings() -> Iterator[None]:
    airflow_settings.cache_clear()
    yield
    airflow_settings.cache_clear()
