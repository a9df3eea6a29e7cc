"""A strict stand-in for a Kubernetes cluster, on loopback: its API and one node.

It keeps pods, events and secrets, and runs a pod's container as a process of this machine with the
pod's environment and nothing else. Bodies are validated against Kubernetes' own schemas. It can
misbehave on demand: see `cluster_faults`.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cluster_faults import ApiFault, PodFault

TOKEN = "a token for tests"
NAMESPACE = "nightshift"
Json = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Line:
    """One line of a container's log."""

    at: datetime
    text: str


@dataclass
class Running:
    """What belongs to a pod beside its object."""

    grace: float
    lines: list[Line] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    environment: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # who asked has gone
            super().handle_error(request, client_address)


class Cluster:
    """The state behind the API. Everything that changes is changed under `changed`.

    Args:
        version: of Kubernetes, for the schemas.
        gpus: of the one node.
        images: what can be pulled.
    """

    def __init__(
        self, *, version: str = "1.34", gpus: int = 0, images: tuple[str, ...] = ("shop/worker:1",)
    ) -> None:
        self.version, self.gpus, self.images = version, gpus, set(images)
        self.start_seconds = 0.0
        """How long a container takes to come up."""
        self.changed = threading.Condition(threading.RLock())
        self.pods: dict[str, Json] = {}
        self.beside: dict[str, Running] = {}
        self.created: list[Json] = []
        """Every body that was ever created, as it came."""
        self.events: list[Json] = []
        self.changes: list[tuple[int, str, Json]] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.claims: dict[str, Path] = {}
        self.pod_faults: list[PodFault] = []
        self.api_faults: list[ApiFault] = []
        self.broken: list[str] = []
        """What the stand-in itself stumbled over."""
        self.requests: list[tuple[str, str]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="ns-cluster-", dir="/tmp"))
        self._numbers = itertools.count(1)
        self._server: ThreadingHTTPServer | None = None
        self._threads: list[threading.Thread] = []

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        from cluster_api import Handler

        handler = type("BoundHandler", (Handler,), {"cluster": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Kill what runs, close the port, remove the folder."""
        for one in self.beside.values():
            one.grace = 0
            one.stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads), "a pod outlived its cluster"
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self.broken == []

    def config(self, path: Path) -> Path:
        """Write a kubeconfig with the token."""
        assert self._server is not None
        server = f"http://127.0.0.1:{self._server.server_address[1]}"
        place = {"cluster": "stand-in", "user": "airflow", "namespace": NAMESPACE}
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stand-in",
            "clusters": [{"name": "stand-in", "cluster": {"server": server}}],
            "users": [{"name": "airflow", "user": {"token": TOKEN}}],
            "contexts": [{"name": "stand-in", "context": place}],
        }
        path.write_text(json.dumps(body))
        return path

    # --- state ------------------------------------------------------------------------------

    def add(self, pod: Json) -> Json:
        """Take in a validated body and start it."""
        from cluster_node import Node

        with self.changed:
            meta = pod["metadata"]
            meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}
            self.pods[meta["name"]] = pod
            grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
            self.beside[meta["name"]] = Running(grace=grace)
            self.touch(pod, "ADDED")
            answer = json.loads(json.dumps(pod))
        thread = threading.Thread(target=Node(self, pod).run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return dict(answer)

    def touch(self, pod: Json, kind: str = "MODIFIED") -> None:
        """A change that watchers see."""
        with self.changed:
            number = next(self._numbers)
            pod["metadata"]["resourceVersion"] = str(number)
            self.changes.append((number, kind, json.loads(json.dumps(pod))))
            self.changed.notify_all()

    def set_status(self, pod: Json, **fields: Any) -> None:
        with self.changed:
            pod["status"] |= fields
            self.touch(pod)

    def remove(self, pod: Json) -> None:
        """The object is gone; a younger one of the same name is left alone."""
        with self.changed:
            name = pod["metadata"]["name"]
            if self.pods.get(name) is pod:
                del self.pods[name]
                self.touch(pod, "DELETED")

    def tell(self, pod: Json, reason: str, message: str, kind: str = "Warning") -> None:
        """An event about a pod."""
        meta = pod["metadata"]
        with self.changed:
            number = next(self._numbers)
            event = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {
                    "name": f"{meta['name']}.{number:x}",
                    "namespace": meta["namespace"],
                    "uid": str(uuid.uuid4()),
                    "resourceVersion": str(number),
                    "creationTimestamp": now(),
                },
                "involvedObject": {
                    "kind": "Pod",
                    "name": meta["name"],
                    "namespace": meta["namespace"],
                    "uid": meta["uid"],
                },
                "reason": reason,
                "message": message,
                "type": kind,
                "lastTimestamp": now(),
            }
            self.events.append(event)
            self.changes.append((number, "ADDED", event))
            self.changed.notify_all()

    def say(self, pod: Json, text: str) -> None:
        """A line of the container's log."""
        with self.changed:
            self.beside[pod["metadata"]["name"]].lines.append(Line(datetime.now(UTC), text))
            self.changed.notify_all()

    def delete(self, pod: Json, grace: float) -> Json:
        """Begin a graceful end; the node takes the object away afterwards."""
        with self.changed:
            meta, beside = pod["metadata"], self.beside[pod["metadata"]["name"]]
            if "deletionTimestamp" not in meta:
                meta |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": int(grace)}
                self.touch(pod)
            beside.grace = min(grace, beside.grace)
            beside.stop.set()
            if grace == 0:
                self.remove(pod)
            return dict(json.loads(json.dumps(pod)))

    def take_fault(self, stage: str | None) -> PodFault | None:
        """The fault that the next pod of this stage has coming."""
        with self.changed:
            for fault in self.pod_faults:
                if fault.stage == stage and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None
