"""What Airflow needs once, before its components start; run again it changes nothing.

The metadata tables, the GPU pool, the login's password file (where one is configured) and the
lake's bucket. The service `airflow-init` of docker-compose.yaml and the chart's migration job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift_airflow.local.place import write_private
from nightshift_airflow.settings import airflow_settings

PASSWORD = "ADMIN_PASSWORD"  # noqa: S105  (its name)
PASSWORD_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"  # noqa: S105  (its name)


def airflow(*arguments: str) -> None:
    """One command of Airflow; its failure is this script's."""
    subprocess.run([sys.executable, "-m", "airflow", *arguments], check=True)


def password_file() -> str:
    """Written here, so that Airflow does not make a password up and print it into its log."""
    path, password = os.environ.get(PASSWORD_FILE), os.environ.get(PASSWORD)
    if not path or not password:
        return "no password file is asked for"
    write_private(Path(path), json.dumps({"admin": password}) + "\n")
    return f"{path} holds the password of admin"


def bucket(settings: Settings) -> str:
    """The bucket of an S3 lake, if it is not there yet."""
    scheme, _, rest = settings.lake_root.partition("://")
    if scheme not in ("s3", "s3a"):
        return f"{settings.lake_root} needs no bucket"
    name = rest.partition("/")[0]
    files = Lake.of(settings).fs
    if not files.exists(name):
        files.mkdir(name)
    return f"bucket {name} is there"


def main() -> None:
    """Every step, each with a line of what it left."""
    airflow("db", "migrate")
    pool = airflow_settings().gpu_pool
    if pool != "default_pool":
        airflow("pools", "set", pool, str(airflow_settings().gpu_slots), "what generates or trains")
    print(password_file())
    print(bucket(Settings.load()))


if __name__ == "__main__":
    main()
