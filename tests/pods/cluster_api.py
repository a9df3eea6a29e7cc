"""The HTTP side of the stand-in: pods, their logs, events, watches; strict about what comes in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cluster import NAMESPACE, TOKEN, Cluster, Json
from cluster_selectors import Refused, merged, selected, well_formed

_ROUTE = re.compile(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/]+)(/log)?)?$")
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "AlreadyExists",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
}
PATCHES = ("application/strategic-merge-patch+json", "application/merge-patch+json")

DELETE_OPTIONS = frozenset(
    ("apiVersion", "kind", "dryRun", "gracePeriodSeconds", "preconditions", "propagationPolicy")
)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are in `cluster.requests`."""

    def _serve(self) -> None:
        self.cluster.requests.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        self.raw = self.rfile.read(length)
        fault = next((f for f in self.cluster.api_faults if f.fits(self.command, self.path)), None)
        if fault is not None:
            fault.times -= 1
            time.sleep(fault.delay)
            if fault.after:
                self._quietly()
            if fault.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            if fault.status is not None:
                self._status(fault.status, f"the stand-in says {fault.status}", fault.headers)
                return
        try:
            self._route()
        except Refused as refused:
            self._status(refused.code, refused.message)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # who asked has gone
        except Exception as error:  # the test that made it fail shall say so
            self.cluster.broken.append(f"{self.command} {self.path}: {error!r}")
            raise

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  (the names that http.server calls)

    def _quietly(self) -> None:
        """Do what is asked, and answer nothing."""
        kept, self.wfile = self.wfile, _Nowhere()  # type: ignore[assignment]
        try:
            self._route()
        finally:
            self.wfile = kept

    # --- routes -----------------------------------------------------------------------------

    def _route(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Unauthorized")
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match = _ROUTE.match(parts.path)
        if match is None or match[1] != NAMESPACE:
            raise Refused(404, f"the server could not find the requested resource {parts.path}")
        _, kind, name, log = match.groups()
        if kind == "events" and name is None and self.command == "GET":
            self._listed("Event", self._events(query), query)
        elif kind == "pods" and name is None and self.command == "GET":
            self._listed("Pod", self._pods(query), query)
        elif kind == "pods" and name is None and self.command == "POST":
            self._create()
        elif kind == "pods" and log and self.command == "GET":
            self._log(self._pod(name), query)
        elif kind == "pods" and name and not log:
            pod = self._pod(name)
            {"GET": self._read, "PATCH": self._patch, "DELETE": self._delete}[self.command](
                pod, query
            )
        else:
            raise Refused(405, f"{self.command} is not supported on {parts.path}")

    def _pod(self, name: str) -> Json:
        with self.cluster.changed:
            if name not in self.cluster.pods:
                raise Refused(404, f'pods "{name}" not found')
            return self.cluster.pods[name]

    def _pods(self, query: dict[str, str]) -> list[Json]:
        with self.cluster.changed:
            return [
                json.loads(json.dumps(pod))
                for pod in self.cluster.pods.values()
                if selected(pod["metadata"].get("labels") or {}, query.get("labelSelector", ""))
            ]

    def _events(self, query: dict[str, str]) -> list[Json]:
        wanted = dict(one.split("=", 1) for one in query.get("fieldSelector", "").split(",") if one)
        if set(wanted) - {"involvedObject.name"}:
            raise Refused(400, f"field label not supported: {wanted}")
        name = wanted.get("involvedObject.name")
        with self.cluster.changed:
            return [e for e in self.cluster.events if name in (None, e["involvedObject"]["name"])]

    def _listed(self, kind: str, items: list[Json], query: dict[str, str]) -> None:
        if _yes(query, "watch"):
            self._stream(self._watched(kind, query))
            return
        number = str(self.cluster.changes[-1][0]) if self.cluster.changes else "0"
        what = {"apiVersion": "v1", "kind": f"{kind}List"}
        self._json(200, {**what, "metadata": {"resourceVersion": number}, "items": items})

    def _watched(self, kind: str, query: dict[str, str]) -> Iterator[bytes]:
        seen = int(query.get("resourceVersion") or 0)
        ends = time.monotonic() + float(query.get("timeoutSeconds") or 30)
        name = query.get("fieldSelector", "").removeprefix("involvedObject.name=")
        while (left := ends - time.monotonic()) > 0:
            with self.cluster.changed:
                fresh = [c for c in self.cluster.changes if c[0] > seen and c[2]["kind"] == kind]
                if not fresh:
                    self.cluster.changed.wait(min(left, 0.5))
            for number, change, thing in fresh:
                seen = number
                if not name or thing.get("involvedObject", {}).get("name") == name:
                    yield json.dumps({"type": change, "object": thing}).encode() + b"\n"

    def _create(self) -> None:
        body = self._body()
        body.setdefault("apiVersion", "v1")
        body.setdefault("kind", "Pod")
        well_formed(body, self.cluster.version)
        if body["metadata"].setdefault("namespace", NAMESPACE) != NAMESPACE:
            raise Refused(400, "the namespace of the object does not match the request's")
        with self.cluster.changed:
            name = body["metadata"]["name"]
            if name in self.cluster.pods:
                being = "deletionTimestamp" in self.cluster.pods[name]["metadata"]
                raise Refused(
                    409,
                    f"object is being deleted: pods {name!r} already exists"
                    if being
                    else f'pods "{name}" already exists',
                )
            self.cluster.created.append(json.loads(json.dumps(body)))
            answer = self.cluster.add(body)
        self._json(201, answer)

    def _read(self, pod: Json, query: dict[str, str]) -> None:
        with self.cluster.changed:
            self._json(200, pod)

    def _patch(self, pod: Json, query: dict[str, str]) -> None:
        if self.headers.get("Content-Type") not in PATCHES:
            raise Refused(415, f"the body of the request was in an unknown format: {PATCHES}")
        change = self._body()
        with self.cluster.changed:
            changed = merged(pod, change)
            if changed["spec"] != pod["spec"]:
                raise Refused(422, "Forbidden: pod updates may not change spec")
            well_formed(changed, self.cluster.version)
            pod["metadata"] = changed["metadata"]
            self.cluster.touch(pod)
            self._json(200, pod)

    def _delete(self, pod: Json, query: dict[str, str]) -> None:
        options = self._body() if self.raw else {}
        if unknown := set(options) - DELETE_OPTIONS:
            raise Refused(400, f"DeleteOptions has no field {unknown}")
        uid = options.get("preconditions", {}).get("uid")
        if uid not in (None, pod["metadata"]["uid"]):
            raise Refused(409, "the UID in the precondition does not match the UID in record")
        asked = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        default = pod["spec"].get("terminationGracePeriodSeconds", 30)
        self._json(200, self.cluster.delete(pod, float(default if asked is None else asked)))

    def _log(self, pod: Json, query: dict[str, str]) -> None:
        states = pod["status"].get("containerStatuses") or [{"state": {"waiting": {}}}]
        if "waiting" in states[0]["state"]:
            waits = states[0]["state"]["waiting"].get("reason", "ContainerCreating")
            raise Refused(400, f'container "base" is waiting to start: {waits}')
        beside = self.cluster.beside[pod["metadata"]["name"]]
        since = datetime.now(UTC) - timedelta(seconds=float(query.get("sinceSeconds") or 1e9))
        first = max(0, len(beside.lines) - int(query.get("tailLines") or len(beside.lines)))

        follow, stamped = _yes(query, "follow"), _yes(query, "timestamps")

        def lines() -> Iterator[bytes]:
            number = first
            while True:
                with self.cluster.changed:
                    fresh = beside.lines[number:]
                    number += len(fresh)
                    over = "running" not in pod["status"]["containerStatuses"][0]["state"]
                    if not fresh and not over and follow:
                        self.cluster.changed.wait(0.5)
                for line in fresh:
                    if line.at >= since:
                        stamp = f"{line.at.isoformat()[:-6]}Z " if stamped else ""
                        yield f"{stamp}{line.text}\n".encode()
                if not fresh and (over or not follow):
                    return

        self._stream(lines(), "text/plain")

    # --- answers ----------------------------------------------------------------------------

    def _body(self) -> Json:
        try:
            return dict(json.loads(self.raw))
        except ValueError as error:
            raise Refused(400, f"the request's body is no JSON object: {error}") from None

    def _status(self, code: int, message: str, headers: dict[str, str] | None = None) -> None:
        reason = _REASONS.get(code, "InternalError")
        status = {"status": "Failure", "message": message, "reason": reason, "code": code}
        self._json(code, {"apiVersion": "v1", "kind": "Status", "metadata": {}, **status}, headers)

    def _json(self, code: int, body: Json, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, chunks: Iterator[bytes], kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def _yes(query: dict[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1")


class _Nowhere:
    """Takes an answer that gets lost."""

    def write(self, text: bytes) -> None:
        return

    def flush(self) -> None:
        return
