"""What an operator is given when Airflow runs it: the part that ours read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nightshift_airflow.resolver import Run


@dataclass
class XComs:
    """A task instance's view of XCom: what was returned before, what is pushed now."""

    returned: dict[str, Any]
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_pull(self, *, task_ids: str) -> Any:
        return self.returned.get(task_ids)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


def context_of(run: Run, **returned: Any) -> dict[str, Any]:
    """The part of Airflow's context that the operators read."""
    return {"ti": XComs({"night": run.to_json(), **returned}), "outlet_events": {}}
