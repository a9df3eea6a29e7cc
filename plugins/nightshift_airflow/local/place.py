"""Where Airflow lives on this machine, and the environment that its processes get.

Nothing is taken from or written to `~/airflow`. Secrets are made once and readable by the owner
alone. The metadata database is a database on the embedded Postgres server.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightshift.errors import NightshiftError
from nightshift.settings import CONFIG_VARIABLE, Settings

METADATA_DATABASE = "airflow"
USER = "admin"
PARALLELISM = 4
"""Tasks at once: more than two cores need, since a task mostly waits for its stage."""
KEPT = ("AIRFLOW__METRICS__", "AIRFLOW__OPENLINEAGE__")
"""Variables of Airflow that are left as they are: where it is watched from."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a local Airflow."""

    project: Path
    home: Path

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Raises NightshiftError when this is not a checkout: the DAGs are files of the project."""
        project = Path(__file__).resolve().parents[3]
        if not (project / "dags" / "nightly.py").is_file():
            raise NightshiftError(
                f"There is no folder of DAGs in {project}.",
                hint="run it from a checkout of Nightshift, installed with `make`",
            )
        return cls(project, settings.home_path / "airflow")

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def passwords(self) -> Path:
        return self.home / "passwords.json"

    def secret(self, name: str) -> str:
        """A secret of this machine, made on first use."""
        path = self.home / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
        if name not in known:
            known[name] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            write_private(path, json.dumps(known))
        return known[name]

    def password(self) -> str:
        """The password of the one user, in the file that Airflow's login reads."""
        if not self.passwords.is_file():
            write_private(self.passwords, json.dumps({USER: secrets.token_urlsafe(12)}))
        return str(json.loads(self.passwords.read_text())[USER])

    def make(self) -> None:
        """The folders, closed to others."""
        for folder in (self.home, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        self.password()


def write_private(path: Path, text: str) -> None:
    """Create or replace a file that only the owner can read, at no moment otherwise."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def environment(
    settings: Settings, place: Place, *, database: str, port: int = 8080
) -> dict[str, str]:
    """The environment of every local Airflow process.

    Args:
        database: SQLAlchemy URL of the metadata database.
        port: of the API server.
    """
    url = f"http://127.0.0.1:{port}"
    config = os.environ.get(CONFIG_VARIABLE, "nightshift.toml")
    airflow = {
        "CORE__DAGS_FOLDER": str(place.project / "dags"),
        "CORE__PLUGINS_FOLDER": str(place.project / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(PARALLELISM),
        "CORE__FERNET_KEY": place.secret("fernet"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(place.passwords),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": place.secret("api"),
        "API_AUTH__JWT_SECRET": place.secret("jwt"),
        "LOGGING__BASE_LOG_FOLDER": str(place.logs),
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "SCHEDULER__CATCHUP_BY_DEFAULT": "False",
    }
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith(KEPT) or not name.startswith("AIRFLOW")
        },
        **{f"AIRFLOW__{name}": value for name, value in airflow.items()},
        "AIRFLOW_HOME": str(place.home),
        "NIGHTSHIFT_HOME": str(settings.home_path),
        CONFIG_VARIABLE: str(Path(config).resolve()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DO_NOT_TRACK": "1",
        "SCARF_ANALYTICS": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "PYTHONUNBUFFERED": "1",
    }


def airflow_command(*arguments: str, environ: Mapping[str, str], log: Path) -> None:
    """Run one `airflow …` command to its end; its output goes to the log.

    Raises:
        NightshiftError: it failed; with its last line and the log's path.
    """
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise NightshiftError(
            f"airflow {' '.join(arguments)} failed: {last_line(log)}", hint=f"all of it is in {log}"
        )


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    if not log.is_file():
        return "no output"
    lines = [text for text in log.read_text(errors="replace").splitlines() if text.strip()]
    return lines[-1][-400:] if lines else "no output"
