"""How the stand-in for Kubernetes can misbehave: to a pod, and to who asks about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

What = Literal["oom", "evict", "lost_node", "vanish", "hang"]


@dataclass
class PodFault:
    """Something happens to one pod of a stage.

    Args:
        what: `oom` kills the process for its memory, `evict` by the kubelet, `lost_node` loses the
            machine (the object stays, being deleted for ever), `vanish` removes the object without
            a trace, `hang` stops the process where it is.
        when: as soon as a line of the log holds this text.
        once: as soon as this is true. Without either: at once.
        at_end: only when the process has ended by itself, before anyone hears of it.
        times: so many pods.
    """

    what: What
    stage: str
    when: str | None = None
    once: Callable[[], bool] | None = None
    at_end: bool = False
    times: int = 1


@dataclass
class ApiFault:
    """Requests are answered badly.

    Args:
        status: the HTTP status; None: only late. 0: the connection is closed without an answer.
        method, path: which requests; `path` is a pattern searched in path and query.
        times: so many requests.
        delay: seconds before the answer.
        after: the request is done all the same, only its answer is lost.
    """

    status: int | None
    method: str = "GET"
    path: str = ""
    times: int = 1
    delay: float = 0.0
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and bool(re.search(self.path, path))
