"""`make up` and `make down`: the components of Airflow, each in a session of its own.

Started and stopped one by one: a stopped `airflow standalone` leaves its children behind.
"""

# ruff: noqa: T201  (a command: what it prints is its result)

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from nightshift.errors import NightshiftError, UsageError
from nightshift.settings import Settings
from nightshift_airflow.local.place import (
    METADATA_DATABASE,
    USER,
    Place,
    airflow_command,
    environment,
    last_line,
    write_private,
)
from nightshift_airflow.local.shop import last_day, shop_of
from nightshift_airflow.settings import PREFIX, airflow_settings

# No log servers: they would listen on every address, and the UI reads the files itself.
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
DEFAULT_PORT = 8080
DEFAULT_POOL = "default_pool"  # Airflow's own; its slots are not ours to set
PORTS_TRIED = 50
START_SECONDS = 180
STOP_SECONDS = 20
HISTORY = timedelta(days=30)


def up(settings: Settings, *, port: int | None = None) -> int:
    """Start Airflow, wait until every component is healthy, say where it is.

    Components that are up stay as they are: after one was killed, this brings it back.

    Raises:
        NightshiftError: a component ended or did not get healthy. What this call started is
            stopped again.
    """
    from nightshift.store import embedded

    place = Place.of(settings)
    place.make()
    alive = running(place)
    missing = [name for name in COMPONENTS if name not in alive]
    if not missing:
        print(f"Airflow is up already ({len(alive)} components).")
        _tell(place)
        return 0
    port = _port_of(place) if alive else _free_port(port)
    database = embedded.url_for(settings, METADATA_DATABASE)
    environ = environment(settings, place, database=database, port=port)
    environ.setdefault(f"{PREFIX}LAST_NIGHT", _last_night(settings))
    if alive:
        print(f"up: {', '.join(alive)}; starting: {', '.join(missing)}", flush=True)
    else:
        _prepare(place, environ)
    write_private(place.home / "url", f"http://127.0.0.1:{port}")
    try:
        for name in missing:
            _start(place, name, COMPONENTS[name], environ)
        _wait_healthy(place, port)
    except BaseException:
        _stop_all(place, missing)
        raise
    _tell(place)
    return 0


def _prepare(place: Place, environ: Mapping[str, str]) -> None:
    """Airflow's tables, and the pool that says how many stages generate or train at once."""
    wanted = airflow_settings()
    log = place.logs / "up.log"
    print("preparing Airflow's metadata database …", flush=True)
    airflow_command("db", "migrate", environ=environ, log=log)
    pool = (wanted.gpu_pool, str(wanted.gpu_slots), "what generates or trains")
    if wanted.gpu_pool != DEFAULT_POOL:
        airflow_command("pools", "set", *pool, environ=environ, log=log)


def _last_night(settings: Settings) -> str:
    """A shop whose events ended long ago is history: none of today's nights is scheduled for it."""
    day = last_day(settings) if shop_of(settings) is not None else None
    is_history = day is not None and datetime.now(UTC).date() - day > HISTORY
    return str(day) if is_history else ""


def down(settings: Settings) -> int:
    """Stop every component with whatever it started, then the embedded Postgres."""
    from nightshift.store import embedded

    _stop_all(Place.of(settings), COMPONENTS)
    if embedded.stop(settings):
        print("stopped postgres")
    return 0


def _stop_all(place: Place, names: Iterable[str]) -> None:
    # The scheduler first: it must start no task while the others go.
    alive = running(place)
    for name in ("scheduler", "triggerer", "dag-processor", "api-server"):
        if name in names:
            if name in alive:
                _stop(alive[name])
                print(f"stopped {name}")
            _pid_file(place, name).unlink(missing_ok=True)


def airflow(settings: Settings, arguments: Sequence[str]) -> int:
    """Airflow's own command line on this home, such as `backfill create`; its exit status."""
    from nightshift.store import embedded

    place = Place.of(settings)
    place.make()
    database = embedded.url_for(settings, METADATA_DATABASE)
    environ = environment(settings, place, database=database, port=_port_of(place))
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.run(command, env=environ, check=False).returncode


def _port_of(place: Place) -> int:
    """Where the UI is or was last; the usual port before the first start."""
    url = place.home / "url"
    return int(url.read_text().rpartition(":")[2]) if url.is_file() else DEFAULT_PORT


def running(place: Place) -> dict[str, psutil.Process]:
    """The components that are alive, by name."""
    return {name: process for name, process in _recorded(place) if process.is_running()}


def _recorded(place: Place) -> Iterator[tuple[str, psutil.Process]]:
    for name in COMPONENTS:
        path = _pid_file(place, name)
        if not path.is_file():
            continue
        known = json.loads(path.read_text())
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(known["pid"])
            # A number is given out again after a reboot; the time of birth is not.
            if abs(process.create_time() - known["created"]) < 1 and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                yield name, process


def _pid_file(place: Place, name: str) -> Path:
    return place.home / f"{name}.pid"


def _start(place: Place, name: str, arguments: Iterable[str], environ: Mapping[str, str]) -> None:
    with (place.logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "airflow", *arguments],
            env=dict(environ),
            cwd=place.project,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = psutil.Process(child.pid).create_time()
    write_private(_pid_file(place, name), json.dumps({"pid": child.pid, "created": created}))


def _stop(process: psutil.Process) -> None:
    """SIGTERM to the component and all below it, stages included; SIGKILL to what is left.

    To all at once: a scheduler alone would wait for its tasks to end by themselves.
    """
    left = _family(process)
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(number, left)
        _, left = psutil.wait_procs(left, timeout=STOP_SECONDS)
        # What came up in between is found through those that are still there.
        left = [member for survivor in left for member in _family(survivor)]


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _free_port(asked: int | None) -> int:
    for port in [asked] if asked else range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                trial.bind(("127.0.0.1", port))
                return port
    if asked:
        raise UsageError(f"Port {asked} is taken.", hint="choose another: make up PORT=8090")
    raise NightshiftError("No port is free.", hint="choose one: make up PORT=18080")


def _wait_healthy(place: Place, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = list(COMPONENTS)
    print("waiting for the components …", flush=True)
    while time.monotonic() < deadline:
        alive = running(place)
        if dead := [name for name in COMPONENTS if name not in alive]:
            log = place.logs / f"{dead[0]}.log"
            raise NightshiftError(
                f"Airflow's {dead[0]} ended: {last_line(log)}", hint=f"its log is {log}"
            )
        waiting = _unhealthy(port)
        if not waiting:
            return
        time.sleep(0.5)
    raise NightshiftError(
        f"Airflow did not get healthy in {START_SECONDS} s: {', '.join(waiting)}.",
        hint=f"see the logs in {place.logs}",
    )


def _unhealthy(port: int) -> list[str]:
    address = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            health = json.load(answer)
    except (OSError, ValueError):
        return ["api-server"]
    parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
    return [name for name in parts if (health.get(name) or {}).get("status") != "healthy"]


def _tell(place: Place) -> None:
    url = (place.home / "url").read_text() if (place.home / "url").is_file() else "?"
    print(f"Airflow: {url}   user: {USER}   password: {place.password()}")
    print(f"(the password is kept in {place.passwords}; logs in {place.logs}; stop it: make down)")
