"""Any `nightshift` command as a pod: what `CommandOperator` is, where stages run as pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightshift_airflow.operators.pod_base import PodOperator


class PodCommandOperator(PodOperator):
    """Runs `nightshift COMMAND …` in a pod; success is its exit status, for it makes no dataset.

    Args:
        command: the words after `nightshift`.
    """

    template_fields: Sequence[str] = (*PodOperator.template_fields, "command")

    def __init__(self, *, command: Sequence[str], **kwargs: Any) -> None:
        super().__init__(called=command[0], **kwargs)
        self.command = list(command)

    def execute(self, context: Any) -> Any:
        return self.start(context, self.command)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> None:
        _, cause = self.ended(context, event)
        if cause is not None:
            self.log.error("%s", cause.line(self.called))
            kind = AirflowException if cause.heals else AirflowFailException
            raise kind(cause.line(self.called))
