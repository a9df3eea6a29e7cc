"""The settings of this process as the variables of a pod: the same tree, without secrets.

What the file and the variables of the scheduling side say travels; what nobody said stays unsaid,
so that an image may have a file of its own. Secrets and places on this machine never travel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr

from nightshift.errors import UsageError
from nightshift.settings import Settings
from nightshift.settings.tree import PREFIX

HERE = frozenset({"home", "store", "compute__termination_log"})
"""A place on this machine, the shop's password, a file of the pod's own: all come from the pod."""


def variables_of(settings: Settings) -> dict[str, str]:
    """Names and values of a pod's variables.

    Raises:
        UsageError: the lake is a folder of this machine by default, which no pod could reach.
    """
    if settings.lake.root is None:
        raise UsageError(
            "A pod cannot reach the default lake, a folder beside Airflow.",
            hint="set NIGHTSHIFT_LAKE__ROOT to storage that Airflow and the pods share (s3://…)",
        )
    named = {f"{PREFIX}{path.upper()}": text for path, text in _said(settings, "")}
    return {**dict(sorted(named.items())), "GX_ANALYTICS_ENABLED": "false", "PYTHONUNBUFFERED": "1"}


def _said(branch: BaseModel, above: str) -> Iterator[tuple[str, str]]:
    """The leaves that were given, each with its path; a list or a table is one JSON text."""
    for name in branch.model_fields_set:
        path, value = f"{above}{name}", getattr(branch, name)
        if path in HERE or value is None:
            continue
        if isinstance(value, BaseModel):
            yield from _said(value, f"{path}__")
        elif not _holds_secret(value):
            plain = branch.model_dump(mode="json", include={name})[name]
            yield path, plain if isinstance(plain, str) else json.dumps(plain)


def _holds_secret(value: Any) -> bool:
    """Options of a lake with a password in them come as a whole from the pods' secret."""
    below = value.values() if isinstance(value, dict) else ()
    return isinstance(value, SecretStr) or any(_holds_secret(one) for one in below)
