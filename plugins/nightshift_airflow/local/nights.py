"""`make nightly`: nights in a row through Airflow, in this terminal, from nothing.

Each night is a run of the DAG `nightly` in Airflow's own metadata database, as `airflow dags test`
would make it: the tasks run here, one after the other, and no scheduler has to be up. What the
stages say is shown; what Airflow says goes to a log.
"""

# ruff: noqa: T201  (a command: what it prints is its result)

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nightshift.errors import NightshiftError
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift_airflow import console
from nightshift_airflow.local.place import (
    METADATA_DATABASE,
    Place,
    airflow_command,
    environment,
)
from nightshift_airflow.local.shop import shop_of
from nightshift_airflow.local.stack import running

DAG_ID = "nightly"


def run_nights(settings: Settings, nights: Sequence[Night]) -> int:
    """Load the default shop if the store is empty, run the nights, print the table.

    Raises:
        NightshiftError: a night failed, with its cause; or Airflow is up already.
    """
    from nightshift.report.summary import print_summary
    from nightshift.store import embedded

    place = Place.of(settings)
    if running(place):
        raise NightshiftError(
            "Airflow is up: its scheduler would take the tasks of these nights as well.",
            hint="trigger `nightly` there, or `make down` first",
        )
    place.make()
    started = time.monotonic()
    log = place.logs / f"nights-{time.strftime('%Y%m%dT%H%M%S')}.log"
    with closing_database(settings):
        _say("Postgres and Airflow's metadata database")
        database = embedded.url_for(settings, METADATA_DATABASE)
        environ = environment(settings, place, database=database)
        airflow_command("db", "migrate", environ=environ, log=log)
        _load_shop(settings, environ)
        _in_airflow(environ, nights, log)
        seconds, done = time.monotonic() - started, console.tally
        _say(f"nights run: {len(nights)}, in {seconds:.0f} s; Airflow's log: {log}")
        _say(f"{done[True]} stages did work, {done[False]} were done before")
        print_summary(settings, list(nights))  # its last line is the report's path
    return 0


@contextmanager
def closing_database(settings: Settings) -> Iterator[None]:
    """Stop the embedded server afterwards if it did not run before."""
    from nightshift.store import embedded

    mine = embedded.start(settings)
    try:
        yield
    finally:
        if mine:
            embedded.stop(settings)


def _load_shop(settings: Settings, environ: dict[str, str]) -> None:
    """The default shop, unless the store holds one: loading is one transaction, all or nothing."""
    shop = shop_of(settings)
    if shop is not None:
        _say(f"the store holds {shop}")
        return
    _say("loading the default shop, once")
    done = subprocess.run(
        [sys.executable, "-m", "nightshift.cli", "load", "complete-journey"],
        env=environ,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise NightshiftError("The default shop could not be loaded; the cause is above.")


def _in_airflow(environ: dict[str, str], nights: Sequence[Night], log: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ.update(environ)
    with only_stages_shown(log):
        dag = _bagged()
        for number, night in enumerate(nights):
            console.say(f"--- night {night.key} ({number + 1} of {len(nights)}) ---")
            run = dag.test(
                logical_date=None, run_conf={"night": night.key, "first_night": number == 0}
            )
            failed = [
                instance.task_id
                for instance in run.get_task_instances()
                if str(instance.state) == "failed"
            ]
            if str(run.state) != "success":
                raise NightshiftError(
                    f"Night {night.key} failed in {', '.join(failed) or 'Airflow'}.",
                    hint=f"the cause is above, Airflow's log is {log}; run it again to go on",
                )


def _bagged() -> Any:
    """The DAG as Airflow parses it.

    Raises:
        NightshiftError: the file does not parse, with Airflow's words.
    """
    from airflow.dag_processing.dagbag import DagBag

    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    bag = DagBag(folder)
    if DAG_ID not in bag.dags:
        problems = "; ".join(
            str(text).strip().splitlines()[-1] for text in bag.import_errors.values()
        )
        raise NightshiftError(f"Airflow has no DAG {DAG_ID!r} in {folder}: {problems}")
    dag = bag.dags[DAG_ID]
    # Nobody is alerted here, and `dag.test` of Airflow 3.3.2 breaks after a run that succeeded when
    # the DAG has a deadline: https://github.com/apache/airflow/issues/73428
    dag.deadline = None
    return dag


@contextmanager
def only_stages_shown(log: Path) -> Iterator[None]:
    """Send everything that Airflow writes to a log, and the stages' lines to the terminal.

    Airflow binds its loggers to the streams it finds, so the streams themselves are turned.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    terminal: TextIO = os.fdopen(os.dup(kept[2]), "w", buffering=1)
    handler = logging.StreamHandler(terminal)
    shown = logging.getLogger(console.LOGGER)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    with log.open("ab") as file:
        for number in kept:
            os.dup2(file.fileno(), number)
    try:
        import airflow.logging_config  # noqa: F401  # it resets handlers, so ours comes after

        shown.addHandler(handler)
        shown.setLevel(logging.INFO)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        shown.removeHandler(handler)
        signal.signal(signal.SIGTERM, previous)
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        terminal.close()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    # Not a logger: once Airflow is imported, loggers speak its format.
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
