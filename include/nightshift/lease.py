"""One lease per (night, stage): two runs of the same work wait for each other.

A lease is a numbered object in the lake, created exclusively. Its holder renews it; when the
holder is gone (its process on this host, or its expiry) the next number takes over. Nothing is
decided by the lease alone: the manifest says what is done, the lease only saves double work.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nightshift.errors import LakeError, LeaseHeld
from nightshift.lake import Lake

TTL_SECONDS = 90.0
RENEW_SECONDS = 20.0
POLL_SECONDS = 1.0

log = logging.getLogger("nightshift.lease")


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _process_start(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat: tells a live process from a recycled number. None: it is gone.

    A zombie is gone: killed, and only its parent has not asked for its status yet.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _is_free(lease: dict[str, Any]) -> bool:
    if lease["released"] or time.time() > lease["expires_at"]:
        return True
    here = lease["host"] == socket.gethostname() and lease["boot"] == _boot_id() != ""
    return bool(here and _process_start(lease["pid"]) != lease["pid_start"])


@contextmanager
def held(lake: Lake, name: str, *, wait_seconds: float, done: Callable[[], bool]) -> Iterator[bool]:
    """Hold the lease `name`; yields False when `done()` came true while waiting.

    Raises:
        LeaseHeld: still held by another after `wait_seconds`.
    """
    folder = f"leases/{name}"
    deadline = time.monotonic() + wait_seconds
    body, told = _body(), False
    while True:
        numbers = [int(n.removesuffix(".json")) for n in lake.names(folder) if n.endswith(".json")]
        last = max(numbers, default=0)
        current = lake.read_bytes(f"{folder}/{last:06}.json") if last else None
        holder = json.loads(current) if current else None
        if holder is not None and holder["holder"] == body["holder"]:
            # S3 took our request, its answer got lost, and the repeated one was refused.
            mine = f"{folder}/{last:06}.json"
            break
        if holder is None or _is_free(holder):
            mine = f"{folder}/{last + 1:06}.json"
            body["expires_at"] = time.time() + TTL_SECONDS  # however long the wait was
            if lake.create(mine, json.dumps(body).encode()):
                break
            continue
        if done():
            yield False
            return
        if time.monotonic() >= deadline:
            raise LeaseHeld(
                f"Another run holds {name}.",
                hint=f"wait for it, or stop process {holder['pid']} on {holder['host']}",
            )
        if not told:
            log.info("waiting for %s, held by pid %s on %s", name, holder["pid"], holder["host"])
            told = True
        time.sleep(POLL_SECONDS)
    for old in numbers:
        if old < last:  # the last one stays, so that numbers only grow
            lake.delete(f"{folder}/{old:06}.json")
    stop = threading.Event()
    keeper = threading.Thread(target=_renew, args=(lake, mine, body, stop), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        stop.set()
        keeper.join()
        _release(lake, mine, body)


def _body() -> dict[str, Any]:
    return {
        "holder": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "pid_start": _process_start(os.getpid()),
        "expires_at": time.time() + TTL_SECONDS,
        "released": False,
    }


def _release(lake: Lake, path: str, body: dict[str, Any]) -> None:
    """Give it back; if that fails it runs out by itself, and what the work came to stays so."""
    try:
        lake.write_bytes(path, json.dumps({**body, "released": True}).encode())
    except LakeError as error:
        log.warning("the lease could not be released, it runs out by itself: %s", error)


def _renew(lake: Lake, path: str, body: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        body["expires_at"] = time.time() + TTL_SECONDS
        try:
            lake.write_bytes(path, json.dumps(body).encode())
        except LakeError as error:
            log.warning("the lease could not be renewed: %s", error)
