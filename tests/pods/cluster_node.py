"""The stand-in's one node: schedules a pod, runs its container as a process, reports how it ended.

A container's process gets what an image would have (a PATH with Python, the library) and what the
pod's spec says, and nothing of this process's environment. Its mounts are folders of the stand-in:
values of variables that lie under a mount path are turned into them, and the termination log is
named by the setting `compute.termination_log`, which is what a mount of that file amounts to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster import Cluster, Json, now
from cluster_faults import PodFault

PROJECT = Path(__file__).parents[2]
IMAGE = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
    "PYTHONPATH": str(PROJECT / "include"),
}
"""The environment of every image."""
MESSAGE_BYTES = 4096
TAIL_LINES = 80


class Node:
    """One pod's life, in a thread of its own."""

    def __init__(self, cluster: Cluster, pod: Json) -> None:
        self.cluster, self.pod = cluster, pod
        self.meta, self.spec = pod["metadata"], pod["spec"]
        self.beside = cluster.beside[self.meta["name"]]
        self.container = self.spec["containers"][0]
        labels = self.meta.get("labels") or {}
        self.fault: PodFault | None = cluster.take_fault(labels.get("nightshift/stage"))
        self.folder = cluster.folder / self.meta["uid"]
        self.word = self.folder / "termination-log"
        self.started = now()
        self.verdict: Json | None = None
        """What the kubelet decided about the pod, whatever its process says."""
        self.process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        try:
            self._live()
        except Exception as error:  # the test that made it fail shall say so
            self.cluster.broken.append(f"the node, with {self.meta['name']}: {error!r}")
            raise

    def _live(self) -> None:
        self.folder.mkdir()
        if not (self._schedule() and self._pull() and self._configure()):
            self.beside.stop.wait()
            self.cluster.remove(self.pod)
            return
        self.beside.stop.wait(self.cluster.start_seconds)
        self._start()
        status = self._wait()
        if self.fault is not None and self.fault.at_end:
            self._strike()
        self._report(status)

    # --- before the container ---------------------------------------------------------------

    def _schedule(self) -> bool:
        limits = (self.container.get("resources") or {}).get("limits") or {}
        problem = ""
        if int(limits.get("nvidia.com/gpu", 0)) > self.cluster.gpus:
            problem = "1 Insufficient nvidia.com/gpu."
        elif self.spec.get("nodeSelector"):
            problem = "1 node(s) didn't match Pod's node affinity/selector."
        for volume in self.spec.get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim is not None and claim not in self.cluster.claims:
                problem = f'persistentvolumeclaim "{claim}" not found.'
        if problem:
            message = f"0/1 nodes are available: {problem}"
            self._condition("PodScheduled", "False", "Unschedulable", message)
            self.cluster.tell(self.pod, "FailedScheduling", message)
            return False
        self._condition("PodScheduled", "True")
        self.cluster.tell(self.pod, "Scheduled", "Successfully assigned to node-1", "Normal")
        return True

    def _pull(self) -> bool:
        image = self.container["image"]
        if image in self.cluster.images:
            return True
        missing = f'failed to pull and unpack image "{image}": not found'
        self._waiting("ErrImagePull", missing)
        self.cluster.tell(self.pod, "Failed", f'Failed to pull image "{image}": {missing}')
        self._waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {missing}')
        return False

    def _configure(self) -> bool:
        for source in self.container.get("envFrom") or []:
            secret = source["secretRef"]
            if secret["name"] not in self.cluster.secrets and not secret.get("optional"):
                message = f'secret "{secret["name"]}" not found'
                self._waiting("CreateContainerConfigError", message)
                self.cluster.tell(self.pod, "Failed", f"Error: {message}")
                return False
        return True

    def _condition(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        old = [c for c in self.pod["status"].get("conditions") or [] if c["type"] != kind]
        fresh = {"type": kind, "status": status, "lastTransitionTime": now()}
        if reason:
            fresh |= {"reason": reason, "message": message}
        self.cluster.set_status(self.pod, conditions=[*old, fresh])

    def _waiting(self, reason: str, message: str) -> None:
        self._container_state({"waiting": {"reason": reason, "message": message}})

    def _container_state(self, state: Json, **status: Any) -> None:
        one = {
            "name": self.container["name"],
            "image": self.container["image"],
            "imageID": "",
            "ready": "running" in state,
            "restartCount": 0,
            "state": state,
        }
        self.cluster.set_status(self.pod, containerStatuses=[one], **status)

    # --- the container ----------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        seen: dict[str, str] = {}
        for source in self.container.get("envFrom") or []:
            seen |= self.cluster.secrets.get(source["secretRef"]["name"], {})
        seen |= {one["name"]: one.get("value", "") for one in self.container.get("env") or []}
        folders = self._mounts()
        for name, value in seen.items():
            for path, folder in folders.items():
                if value == path or value.startswith(f"{path}/"):
                    seen[name] = str(folder) + value.removeprefix(path)
        seen.setdefault("TMPDIR", str(folders.get("/tmp", "/tmp")))
        seen.setdefault("NIGHTSHIFT_COMPUTE__TERMINATION_LOG", str(self.word))
        return {**IMAGE, **seen}

    def _mounts(self) -> dict[str, Path]:
        """Mount path to folder; the longest path first, as a mount inside a mount wins."""
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes") or []}
        found: dict[str, Path] = {}
        for mount in self.container.get("volumeMounts") or []:
            volume = volumes[mount["name"]]
            if "persistentVolumeClaim" in volume:
                folder = self.cluster.claims[volume["persistentVolumeClaim"]["claimName"]]
            elif "hostPath" in volume:
                folder = Path(volume["hostPath"]["path"])
            else:
                folder = self.folder / "volumes" / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            found[mount["mountPath"]] = folder
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def _start(self) -> None:
        environment = self.beside.environment = self._environment()
        self.word.touch()
        work = self.folder / "work"
        work.mkdir()
        self.process = subprocess.Popen(
            [*self.container["command"], *self.container.get("args", [])],
            env=environment,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started = now()
        self._container_state(
            {"running": {"startedAt": self.started}}, phase="Running", startTime=self.started
        )
        threading.Thread(target=self._guard, daemon=True).start()
        fault = self.fault
        if fault is not None and fault.once is not None:
            threading.Thread(target=self._watch_for, args=(fault.once,), daemon=True).start()
        elif fault is not None and fault.when is None and not fault.at_end:
            self._strike()

    def _guard(self) -> None:
        """End the process when the pod is deleted or past its deadline."""
        assert self.process is not None
        deadline = float(self.spec.get("activeDeadlineSeconds") or 1e9)
        over = not self.beside.stop.wait(deadline if deadline < 1e6 else None)
        if over and self.process.poll() is None:
            message = "Pod was active on the node longer than the specified deadline"
            self.verdict = {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}
        if self.process.poll() is not None:
            return
        self._signal(signal.SIGTERM)
        since = time.monotonic()
        while self.process.poll() is None and time.monotonic() - since < self.beside.grace:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)

    def _watch_for(self, true: Callable[[], bool]) -> None:
        assert self.process is not None
        while self.process.poll() is None:
            if true():
                self._strike()
                return
            time.sleep(0.005)

    def _wait(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for raw in output:
                self.cluster.say(self.pod, raw.rstrip("\n"))
                fault = self.fault
                if fault is not None and fault.when is not None and fault.when in raw:
                    self._strike()
        status = self.process.wait()
        self._signal(signal.SIGKILL)  # what it left behind: a pod's end ends all of it
        return status

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return  # all of it is gone

    # --- its end ----------------------------------------------------------------------------

    def _strike(self) -> None:
        """The fault happens now."""
        fault, self.fault = self.fault, None
        assert fault is not None
        if fault.what == "hang":
            self._signal(signal.SIGSTOP)
            return
        if fault.what == "oom":
            self.verdict = {"exit": 137, "why": "OOMKilled"}
        elif fault.what == "evict":
            message = "The node was low on resource: memory. Threshold quantity: 100Mi."
            self.verdict = {"phase": "Failed", "reason": "Evicted", "message": message}
        elif fault.what == "lost_node":
            self.verdict = {"lost": True}
        else:
            self.verdict = {"vanished": True}
        self._signal(signal.SIGKILL)

    def _report(self, status: int) -> None:
        verdict = self.verdict or {}
        if verdict.get("vanished"):
            self.cluster.remove(self.pod)
            return
        if verdict.get("lost"):
            self._lose()
            return
        code = verdict.get("exit", 128 - status if status < 0 else status)
        ended = {
            "exitCode": code,
            "reason": verdict.get("why", "Error" if code else "Completed"),
            "startedAt": self.started,
            "finishedAt": now(),
        }
        if message := self._message(code):
            ended["message"] = message
        said = {name: verdict[name] for name in ("reason", "message") if name in verdict}
        phase = verdict.get("phase", "Failed" if code else "Succeeded")
        if "deletionTimestamp" not in self.meta:
            self._container_state({"terminated": ended}, phase=phase, **said)
        self.beside.stop.wait()  # the object stays until it is deleted
        self.cluster.remove(self.pod)

    def _lose(self) -> None:
        """Nobody reports any more: the object stays as it was, being deleted for ever."""
        with self.cluster.changed:
            self.meta |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        self._condition("Ready", "False", "NodeStatusUnknown", "Node is not ready")
        self.cluster.set_status(
            self.pod, reason="NodeLost", message="Node node-1 which was running the pod is lost"
        )

    def _message(self, code: int) -> str:
        word = self.word.read_text()
        policy = self.container.get("terminationMessagePolicy", "File")
        if not word and code and policy == "FallbackToLogsOnError":
            word = "\n".join(line.text for line in self.beside.lines[-TAIL_LINES:])[-2048:]
        return word.encode()[:MESSAGE_BYTES].decode(errors="ignore")
