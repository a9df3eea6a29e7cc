"""docker-compose.yaml: what is published, what is secret, what asks whether it is well."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.configuration import conf
from compose_file import COMPONENTS, FILE, ROOT, SECRETS, interpolate, resolved

from nightshift.settings import Settings
from nightshift_airflow.settings import PREFIX, AirflowSettings

OF_AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
MERGE_TAG = "tag:yaml.org,2002:merge"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return resolved()


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def test_nothing_is_published_beyond_loopback(services: dict[str, Any]) -> None:
    ports = [port for one in services.values() for port in one.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_component_of_airflow_is_there(services: dict[str, Any]) -> None:
    commands = {name: services[name]["command"][:2] for name in COMPONENTS}

    assert sorted(command[1] for command in commands.values()) == [
        "api-server",
        "dag-processor",
        "scheduler",
        "triggerer",
    ]
    assert {command[0] for command in commands.values()} == {"airflow"}


def test_what_runs_the_stages_is_the_worker(services: dict[str, Any]) -> None:
    targets = {name: one["build"]["target"] for name, one in services.items() if "build" in one}
    images = {name: services[name]["image"] for name in targets}

    assert targets.pop("airflow-scheduler") == "worker"
    assert images.pop("airflow-scheduler") == "nightshift-worker:latest"
    assert set(targets.values()) == {"airflow"}
    assert set(images.values()) == {"nightshift-airflow:latest"}
    for target in ("airflow", "worker"):
        assert f"AS {target}\n" in (ROOT / "Dockerfile").read_text()


def test_what_goes_on_running_says_whether_it_is_well(services: dict[str, Any]) -> None:
    for name, one in services.items():
        if one["restart"] == "no":
            assert "healthcheck" not in one, name
            continue
        check = one["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries"} <= set(check), name


def test_a_service_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    for name in COMPONENTS:
        waits = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
        assert waits["airflow-init"] == "service_completed_successfully"
        assert waits["postgres"] == waits["object-store"] == "service_healthy"
    for one in services.values():
        for other, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]


def test_profiles_keep_apart_what_not_everybody_has(services: dict[str, Any]) -> None:
    profiles = {name: one["profiles"] for name, one in services.items() if "profiles" in one}
    devices = services["vllm"]["deploy"]["resources"]["reservations"]["devices"]

    assert profiles == {"airflow-cli": ["debug"], "vllm": ["gpu"]}
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_every_setting_exists(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = services["airflow-scheduler"]["environment"]
    for name, value in made.items():
        monkeypatch.setenv(name, value)

    settings = Settings.load()  # raises on a key that it does not know
    assert settings.store.url is not None
    assert settings.lake_root == "s3://nightshift/lake"
    assert settings.lake.open_options == {"endpoint_url": "http://object-store:8333"}
    assert AirflowSettings().gpu_pool == "gpu"
    for name in made:
        if name.startswith(PREFIX):
            assert name.removeprefix(PREFIX).lower() in AirflowSettings.model_fields
        elif name.startswith("AIRFLOW__"):
            section, option = name.removeprefix("AIRFLOW__").lower().split("__")
            assert conf.configuration_description[section]["options"].get(option), name
        else:
            assert name.startswith("NIGHTSHIFT_") or name in OF_AWS, name


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        resolved({name: value for name, value in SECRETS.items() if name != missing})


def test_a_secret_goes_only_where_it_is_needed(services: dict[str, Any]) -> None:
    def having(secret: str) -> set[str]:
        return {name for name, one in services.items() if SECRETS[secret] in json.dumps(one)}

    assert having("ADMIN_PASSWORD") == {"airflow-init"}
    assert "vllm" not in having("LAKE_SECRET_KEY")
    assert having("JWT_SECRET") == {*COMPONENTS, "airflow-init", "airflow-cli"}


def test_every_image_is_a_variable_that_takes_a_digest(compose: dict[str, Any]) -> None:
    raw = yaml.safe_load(FILE.read_text())
    images = {name: one["image"] for name, one in raw["services"].items() if "image" in one}

    for name, image in images.items():
        variable = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):-[a-z0-9./-]+:[A-Za-z0-9._-]+\}", image)
        assert variable, f"{name}: {image}"
        assert interpolate(image, {variable[1]: "a@sha256:1"}) == "a@sha256:1"
    tags = {one["image"].rpartition(":")[2] for one in compose["services"].values()}
    assert tags - {"latest"} == {"18", "4.48", "v0.33.0"}  # `latest` is what is built here


def test_what_a_service_mounts_is_there(compose: dict[str, Any]) -> None:
    used = [
        volume.split(":")[0]
        for one in compose["services"].values()
        for volume in one.get("volumes", [])
    ]

    for source in used:
        if source.startswith("."):
            assert (ROOT / source).is_file(), source
        else:
            assert source in compose["volumes"], source
    assert set(compose["volumes"]) <= set(used)


@pytest.mark.skipif(shutil.which("podman-compose") is None, reason="podman-compose is not there")
def test_podman_compose_reads_it_the_same_way(compose: dict[str, Any], tmp_path: Path) -> None:
    secrets = tmp_path / "env"
    secrets.write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    command = ["podman-compose", "--env-file", str(secrets), "-f", str(FILE)]
    done = subprocess.run(
        [*command, "--profile", "gpu", "--profile", "debug", "config"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    theirs = yaml.safe_load(done.stdout)["services"]

    assert set(theirs) == set(compose["services"])
    for name, one in compose["services"].items():
        for key in ("image", "command", "healthcheck", "profiles", "ports"):
            assert theirs[name].get(key) == one.get(key), (name, key)
        assert theirs[name]["environment"] == one["environment"], name


def test_no_key_is_written_twice() -> None:
    """A YAML reader would take the last one and say nothing."""

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != MERGE_TAG]
        assert len(keys) == len(set(keys)), node.start_mark
        loader.flatten_mapping(node)
        return {
            loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
            for key, value in node.value
        }

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert yaml.load(FILE.read_text(), Strict)["name"] == "nightshift"
