"""The local Airflow: closed to others, loopback only, nothing of it in a user's `~/airflow`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.settings import Settings
from nightshift_airflow.local.place import USER, Place, environment
from nightshift_airflow.local.stack import _free_port, running

DATABASE = "postgresql+psycopg2://postgres@/airflow?host=/tmp/x"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place.of(Settings(home=tmp_path / "home"))
    made.make()
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_secrets_are_made_once_and_for_the_owner_alone(place: Place) -> None:
    first = (place.secret("jwt"), place.secret("api"), place.password())
    again = (place.secret("jwt"), place.secret("api"), place.password())

    assert first == again
    assert len(set(first)) == 3
    assert mode(place.home) == mode(place.logs) == 0o700
    assert {mode(path) for path in place.home.iterdir() if path.is_file()} == {0o600}


def test_every_address_is_loopback(place: Place, tmp_path: Path) -> None:
    made = environment(Settings(home=tmp_path / "home"), place, database=DATABASE, port=8123)

    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert made["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"
    assert made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert made["AIRFLOW_HOME"] == str(tmp_path / "home" / "airflow")
    assert made["NIGHTSHIFT_HOME"] == str(tmp_path / "home")


def test_another_airflows_environment_does_not_count(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")

    made = environment(Settings(home=tmp_path / "home"), place, database=DATABASE)

    assert made["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW__CELERY__BROKER_URL" not in made
    assert made["AIRFLOW__METRICS__STATSD_ON"] == "True"  # where it is watched from is kept


def test_a_pid_file_of_a_process_that_is_gone_means_nothing(place: Place) -> None:
    (place.home / "scheduler.pid").write_text(f'{{"pid": {os.getpid()}, "created": 1.0}}')

    assert running(place) == {}


def test_a_taken_port_is_passed_over() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Exception, match="is taken"):
            _free_port(taken.getsockname()[1])
    assert _free_port(None) >= 8080


def test_the_user_is_named_in_the_password_file(place: Place) -> None:
    assert f'"{USER}"' in place.passwords.read_text()
