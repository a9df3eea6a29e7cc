"""The settings that travel to a pod, and those of the place that it runs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.errors import SettingsError, UsageError
from nightshift.settings import Settings
from nightshift_airflow.pods.environment import variables_of
from nightshift_airflow.settings import airflow_settings


@pytest.fixture(autouse=True)
def _lake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", "s3://lake")


def test_settings_travel_and_secrets_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightshift.toml"
    file.write_text("[generate]\nstrategies = ['negatives']\n[collect]\nmax_price = 10.5\n")
    for name, value in {
        "CONFIG": str(file),
        "HOME": "/somewhere/here",
        "STORE__URL": "postgresql+psycopg2://u:hush@db/shop",
        "STORE__PSEUDONYM_KEY": "hush",
        "LAKE__OPTIONS": '{"endpoint_url": "http://s3", "use_ssl": false}',
        "COMPUTE__TERMINATION_LOG": "/here/log",
        "COMPUTE__THREADS": "7",
        "NIGHT__FIRST": "2017-11-20T00:00:00Z",
    }.items():
        monkeypatch.setenv(f"NIGHTSHIFT_{name}", value)
    here = Settings.load()

    passed = variables_of(here)

    assert "hush" not in str(passed)
    assert not {"NIGHTSHIFT_HOME", "NIGHTSHIFT_CONFIG"} & set(passed)
    for name in ("CONFIG", "HOME", "LAKE__OPTIONS", "COMPUTE__TERMINATION_LOG", "COMPUTE__THREADS"):
        monkeypatch.delenv(f"NIGHTSHIFT_{name}")
    monkeypatch.delenv("NIGHTSHIFT_NIGHT__FIRST")
    monkeypatch.chdir(tmp_path / "..")  # where no file is
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    there = Settings.load()
    for section in ("generate", "collect", "compute.threads", "night", "lake.root"):
        assert here.digest_of(section) == there.digest_of(section)
    assert there.lake.open_options == here.lake.open_options


def test_options_of_the_lake_with_a_password_are_left_to_the_pods_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = '{"client_kwargs": {"aws_secret": "hush"}, "endpoint_url": "http://s3"}'
    monkeypatch.setenv("NIGHTSHIFT_LAKE__OPTIONS", options)

    passed = variables_of(Settings.load())

    assert "NIGHTSHIFT_LAKE__OPTIONS" not in passed
    assert "hush" not in str(passed)


def test_a_lake_that_no_pod_can_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_LAKE__ROOT")

    with pytest.raises(UsageError, match="NIGHTSHIFT_LAKE__ROOT"):
        variables_of(Settings.load())


def test_lists_and_tables_are_json_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__IMAGE_PULL_SECRETS", '["registry"]')
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__GPU_TOLERATIONS", '[{"operator": "Exists"}]')
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__NODE_SELECTOR", '{"pool": "batch"}')

    found = airflow_settings()

    assert found.image_pull_secrets == ("registry",)
    assert found.gpu_tolerations == ({"operator": "Exists"},)
    assert found.node_selector == {"pool": "batch"}


@pytest.mark.parametrize(
    ("name", "value"), [("NODE_SELECTOR", "pool=batch"), ("STOP_SECONDS", "soon")]
)
def test_a_wrong_one_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NIGHTSHIFT_AIRFLOW__{name}", value)

    with pytest.raises(SettingsError, match=f"(?i){name}"):
        airflow_settings()
