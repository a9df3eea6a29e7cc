"""The job that resolves the extras as if there were no lock."""

from __future__ import annotations

from pathlib import Path

import lock_fresh
import pytest

PACKAGE = """
[project]
name = "{name}"
version = "{version}"
dependencies = [{needs}]
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = []
"""


def source(folder: Path, name: str, version: str, needs: str = "") -> str:
    """A package as a folder, which pip resolves without any index."""
    place = folder / f"{name}-{version}"
    place.mkdir()
    (place / "pyproject.toml").write_text(PACKAGE.format(name=name, version=version, needs=needs))
    return f"{name} @ {place.as_uri()}"


OFFLINE = ("--no-index", "--no-build-isolation")


def test_pip_says_what_it_would_install_and_installs_nothing(tmp_path: Path) -> None:
    below = source(tmp_path, "nightshift-below", "2.0")
    above = source(tmp_path, "nightshift-above", "1.0", f'"{below}"')

    found = lock_fresh.newest([above], *OFFLINE)

    assert found == {"nightshift-above": "1.0", "nightshift-below": "2.0"}


def test_what_does_not_resolve_says_why() -> None:
    with pytest.raises(RuntimeError, match="nightshift-nowhere"):
        lock_fresh.newest(["nightshift-nowhere"], *OFFLINE)


def test_what_moved_came_or_went_is_listed() -> None:
    locked = {"a": "1", "b": "1", "torch": "2.13.0", "gone": "3"}
    newest = {"a": "1", "b": "2", "torch": "2.13.0+cpu", "new": "4"}

    moved = lock_fresh.differences(locked, newest)

    assert moved == [("b", "1", "2"), ("gone", "3", "-"), ("new", "-", "4")]
    assert lock_fresh.table(moved).splitlines()[1] == "b        1       2"


@pytest.mark.parametrize(
    ("resolved", "status"),
    [
        ({"s3fs": "1"}, 0),
        ({"s3fs": "2"}, lock_fresh.MOVED),
        (RuntimeError("no"), lock_fresh.BROKEN),
    ],
)
def test_a_job_reads_the_exit_status(
    resolved: dict[str, str] | RuntimeError,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def newest(requirements: list[str], *options: str, timeout: float) -> dict[str, str]:
        asked.extend(requirements)
        if isinstance(resolved, RuntimeError):
            raise resolved
        return resolved | {"torch": "2.13.0"}

    lock = tmp_path / "requirements.lock"
    lock.write_text("s3fs==1\ntorch==2.13.0\n")
    monkeypatch.setattr(lock_fresh, "LOCK", lock)
    monkeypatch.setattr(lock_fresh, "newest", newest)

    assert lock_fresh.main([]) == status
    assert "torch==2.13.0" in asked  # pinned as locked
    assert {"apache-airflow[statsd]", "moto[s3,server]", "torch"} <= {*asked}
    said = capsys.readouterr()
    assert ("s3fs" in said.out) is (status == lock_fresh.MOVED)
    assert ("do not resolve" in said.err) is (status == lock_fresh.BROKEN)
