"""docker-compose.yaml as `docker compose config` resolves it: variables put in, merges made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
SECRETS = {
    "POSTGRES_PASSWORD": "postgres-hush",
    "JWT_SECRET": "jwt-hush-jwt-hush-jwt-hush-jwt-hush-jwt-hush-jwt-hush-jwt-hush-jwt-",
    "API_SECRET_KEY": "api-hush",
    "ADMIN_PASSWORD": "admin-hush",
    "LAKE_ACCESS_KEY": "lake-hush-key",
    "LAKE_SECRET_KEY": "lake-hush-secret",
    "FERNET_KEY": "ZmVybmV0LWh1c2gtZmVybmV0LWh1c2gtZmVybmV0LWg=",
}
COMPONENTS = (
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME}`, `${NAME-default}`, `${NAME:-default}`, `${NAME:?message}`.

    Raises:
        KeyError: a variable is required, or has no default, and is not given.
    """

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match[1], match[2] or "", match[3] or ""
        given = variables.get(name)
        if given is not None and (given or not kind.startswith(":")):
            return given
        if kind.endswith("-"):
            return rest
        raise KeyError(name)

    return re.sub(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}", value, text)


def resolved(variables: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """The file with the merge keys carried out and then, in its texts, these variables."""

    def put_in(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: put_in(below) for key, below in value.items()}
        if isinstance(value, list):
            return [put_in(below) for below in value]
        return interpolate(value, variables) if isinstance(value, str) else value

    found: dict[str, Any] = put_in(yaml.safe_load(FILE.read_text()))
    return found
