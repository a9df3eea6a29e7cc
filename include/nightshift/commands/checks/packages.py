"""Installed packages against the lock, and the models that come as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import nightshift
from nightshift.commands.checks import FAIL, OK, WARN, Finding
from nightshift.errors import NightshiftError
from nightshift.settings import Settings

LOCK = "requirements.lock"
_NAMED = 5  # packages named in a line; the rest are counted


def packages() -> Iterator[Finding]:
    """Every package of the lock at its version; without a lock, what the wheel asks for."""
    lock = Path(nightshift.__file__).parents[2] / LOCK
    if lock.is_file():
        yield from against_lock(lock.read_text())
        return
    wanted = [line for line in requires("nightshift") or () if "extra ==" not in line]
    names = [re.split(r"[\s;\[<>=!~(]", line, maxsplit=1)[0] for line in wanted]
    missing = [name for name in names if _installed(name) is None]
    if missing:
        yield Finding(FAIL, "packages", f"missing: {', '.join(missing)}", "pip install nightshift")
    else:
        yield Finding(OK, "packages", f"{len(names)} installed; there is no lock to compare with")


def against_lock(text: str) -> Iterator[Finding]:
    """Findings for the lines `name==version` of a lock."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, flags=re.MULTILINE)
    missing, other = [], []
    for name, wanted in pins:
        found = _installed(name)
        if found is None:
            missing.append(name)
        elif found.partition("+")[0] != wanted.partition("+")[0]:  # torch carries its build
            other.append(f"{name} {found} (lock: {wanted})")
    if missing:
        # A thin image has no torch on purpose: stages that need it say so themselves.
        yield Finding(WARN, "packages missing", _some(missing), f"pip install -r {LOCK}")
    if other:
        yield Finding(WARN, "packages differ", _some(other), f"pip install -r {LOCK}")
    if not missing and not other:
        yield Finding(OK, "packages", f"{len(pins)} as in {LOCK}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def models(settings: Settings) -> Iterator[Finding]:
    """The sentence encoder, and the language model where a strategy wants one."""
    from nightshift.text.encoder import model_folder

    try:
        folder = model_folder(settings)
        yield Finding(OK, "encoder", str(folder))
    except NightshiftError as error:
        yield Finding(FAIL, "encoder", error.message, error.hint)
    from nightshift.generate.strategies import needs_model

    if not any(map(needs_model, settings.generate.strategies)):
        yield Finding(OK, "language model", "no strategy asks for one")
        return
    from nightshift.generate.engines.model_files import model_source

    engine = settings.generate.engine.name
    if engine == "openai":
        yield _server(settings)
        return
    if _installed(engine) is None:
        hint = "pip install nightshift[worker], or set generate.engine.name"
        yield Finding(FAIL, "engine", f"{engine} is not installed", hint)
    try:
        yield Finding(OK, "language model", f"{model_source(settings).path} ({engine})")
    except NightshiftError as error:
        yield Finding(FAIL, "language model", error.message, error.hint)


def _server(settings: Settings) -> Finding:
    """Whether the configured server answers; asked once, a start may wait for it."""
    from nightshift.generate.engines import create

    try:
        engine = create(settings.with_({"generate": {"engine": {"max_retries": 0}}}))
        served = engine.identity["model"]["id"]
        return Finding(OK, "language model", f"{served} at {settings.generate.engine.url} (openai)")
    except NightshiftError as error:
        return Finding(FAIL, "language model", error.message, error.hint)
