"""The part of requirements.lock that an image needs, from pyproject's extras and no list of names.

    python deploy/lock_for.py            check deploy/*.lock, as the tests do
    python deploy/lock_for.py --write    write them anew, as `make lock` does

`[tool.nightshift.images]` in pyproject.toml says which extras an image has. What they need in turn
is read from the metadata of the installed packages, so it runs where the whole lock is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
HEAD = "# The part of requirements.lock that the image `{}` needs. Written by `make lock`.\n"


def canonical(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Name as written -> version, of a lock's lines `name==version`."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)$", text, flags=re.MULTILINE))


def pyproject() -> dict[str, Any]:
    """The whole of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def project() -> dict[str, Any]:
    """The table `[project]`."""
    found: dict[str, Any] = pyproject()["project"]
    return found


def images() -> dict[str, list[str]]:
    """Image -> its extras."""
    found: dict[str, list[str]] = pyproject()["tool"]["nightshift"]["images"]
    return found


def data_wheels() -> frozenset[str]:
    """Wheels whose files are read and whose requirements are therefore not followed."""
    return frozenset(canonical(name) for name in pyproject()["tool"]["nightshift"]["data-wheels"])


def wanted(extras: Iterable[str]) -> list[str]:
    """What the project itself asks for with these extras."""
    offered = project()["optional-dependencies"]
    return [*project()["dependencies"], *(one for extra in extras for one in offered[extra])]


def closure(requirements: Iterable[str]) -> set[str]:
    """Canonical names of everything that the requirements need, themselves included.

    Raises:
        LookupError: one of them is not installed, so that nobody knows what it needs.
    """
    apart = data_wheels()
    waiting = [Requirement(text) for text in requirements]
    followed: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in followed:
                continue
            followed.add((name, extra))
            waiting += [] if name in apart else _asked_by(name, extra)
    return {name for name, _ in followed}


def _asked_by(name: str, extra: str) -> list[Requirement]:
    try:
        asked = [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:
        raise LookupError(f"{name} is not installed: install requirements.lock first") from None
    return [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]


def lock_for(extras: Sequence[str], lock: Mapping[str, str]) -> dict[str, str]:
    """The lines of `lock` that the project needs with these extras.

    Raises:
        LookupError: something that is needed is not in the lock.
    """
    needed = closure(wanted(extras))
    if missing := needed - {canonical(name) for name in lock}:
        raise LookupError(f"needed and not locked: {', '.join(sorted(missing))}")
    return {name: version for name, version in lock.items() if canonical(name) in needed}


def text_of(image: str) -> str:
    """What deploy/IMAGE.lock has to hold."""
    chosen = lock_for(images()[image], pins(LOCK.read_text()))
    return HEAD.format(image) + "".join(f"{name}=={chosen[name]}\n" for name in chosen)


def main(argv: Sequence[str]) -> int:
    """Write or check the lock of every image; 1 when one is not what it should be."""
    status = 0
    for image in images():
        path = ROOT / "deploy" / f"{image}.lock"
        text = text_of(image)
        if "--write" in argv:
            path.write_text(text)
        fits = path.is_file() and path.read_text() == text
        status |= not fits
        word = "fits" if fits else "is stale: run deploy/lock_for.py --write"
        print(f"{path.relative_to(ROOT)}: {len(pins(text))} packages, {word}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
