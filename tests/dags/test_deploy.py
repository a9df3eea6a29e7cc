"""The container files, as far as they can be checked without a container engine."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from airflow.configuration import conf
from airflow_for_tests import PROJECT

from nightshift.settings import Settings
from nightshift_airflow.settings import PREFIX, AirflowSettings

SECRET_VARIABLES = {"POSTGRES_PASSWORD": "pw", "JWT_SECRET": "jwt", "FERNET_KEY": "key"}
DOCKERFILE = (PROJECT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as `docker compose config` would resolve it."""

    def value(match: re.Match[str]) -> str:
        default = match[2] if (match[2] or "").startswith("-") else ""
        return SECRET_VARIABLES.get(match[1]) or default.removeprefix("-")

    text = (PROJECT / "docker-compose.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):?([-?][^}]*)?\}", value, text))
    return found


def environment(compose: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = compose["services"]["scheduler"]["environment"]
    return found


def test_nothing_is_published_beyond_loopback(compose: dict[str, Any]) -> None:
    ports = [port for one in compose["services"].values() for port in one.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_component_of_airflow_is_there(compose: dict[str, Any]) -> None:
    commands = {
        tuple(one["command"][:2]) for one in compose["services"].values() if "command" in one
    }

    for component in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert ("airflow", component) in commands


def test_what_runs_the_stages_is_the_worker(compose: dict[str, Any]) -> None:
    targets = {
        name: one["build"]["target"] for name, one in compose["services"].items() if "build" in one
    }

    assert targets.pop("scheduler") == "worker"
    assert set(targets.values()) == {"airflow"}
    for target in ("airflow", "worker"):
        assert f"AS {target}\n" in DOCKERFILE


def test_every_setting_exists(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = environment(compose)
    for name, value in made.items():
        monkeypatch.setenv(name, value)

    assert Settings.load().store.url is not None  # raises on a key that it does not know
    assert AirflowSettings().gpu_pool == "gpu"
    for name in made:
        if name.startswith(PREFIX):
            assert name.removeprefix(PREFIX).lower() in AirflowSettings.model_fields
        elif name.startswith("AIRFLOW__"):
            section, option = name.removeprefix("AIRFLOW__").lower().split("__")
            assert conf.configuration_description[section]["options"].get(option), name


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    text = (PROJECT / "docker-compose.yaml").read_text()

    for name in SECRET_VARIABLES:
        assert re.search(rf"\$\{{{name}:\?", text)
        assert not re.search(rf"\$\{{{name}:?-", text)


def test_what_the_thin_image_leaves_out_is_in_the_lock() -> None:
    lock = {line.split("==")[0] for line in (PROJECT / "requirements.lock").read_text().split()}
    left_out = re.findall(r"grep -Ev '\^\(([^)]*)\)=='", DOCKERFILE)

    assert len(left_out) == 2
    for names in left_out:
        assert set(names.split("|")) <= lock


def test_the_lock_names_no_host_and_no_path() -> None:
    lines = (PROJECT / "requirements.lock").read_text().splitlines()

    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    assert "torch==2.13.0" in lines
