"""How Airflow runs the stages: the few settings that no stage may know.

They are kept out of `nightshift.settings` on purpose: a stage's key must not change because the
stage moved from a process to a pod.
Environment variables, such as `NIGHTSHIFT_AIRFLOW__RUNNER=pod`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

from nightshift.errors import SettingsError
from nightshift_airflow.pod_settings import PodSettings

PREFIX = "NIGHTSHIFT_AIRFLOW__"


class AirflowSettings(PodSettings):
    """What the DAGs and their operators need to know about the place they run in.

    What concerns pods alone is in `nightshift_airflow.pod_settings`; its variables begin the same.
    """

    model_config = SettingsConfigDict(
        hide_input_in_errors=True,  # a webhook's address is a secret
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
    )

    runner: Literal["process", "pod"] = Field(
        "process", description="a stage is a process beside the task, or a Kubernetes pod"
    )
    schedule: str = Field("0 0 * * *", description="cron, UTC; each run's interval is one night")
    start_night: date = Field(
        date(2000, 1, 1), description="nothing is scheduled or backfilled before this date"
    )
    catchup: bool = Field(
        False, description="after a pause, schedule every night that was missed, not the last alone"
    )
    last_night: date | None = Field(
        None, description="scheduled nights after it are skipped: for a shop that is history"
    )
    gpu_pool: str = Field(
        "gpu", description="pool of all that generates or trains; it needs as many slots as GPUs"
    )
    gpu_slots: int = Field(1, ge=1, description="slots that `make up` gives to that pool")
    parent_wait_seconds: int = Field(
        6 * 3600, ge=0, description="how long a night waits for the state it starts from"
    )
    retries: int = Field(2, ge=0, description="per task; doubled waits in between")
    retry_seconds: float = Field(60.0, ge=0, description="wait before the first retry")
    max_active_runs: int = Field(2, ge=1, description="nights of the schedule at the same time")
    housekeeping_schedule: str = Field(
        "0 12 * * 0", description="cron, UTC; when the lake is tidied, best between two nights"
    )

    adapt_schedule: str = Field(
        "0 12 * * 0",
        description="cron, UTC; when the language model learns the shop, best between two nights",
    )

    alert_url: SecretStr | None = Field(
        None,
        description='webhook that alerts are posted to, as {"text": …}; they are logged anyway',
    )
    deadline_hours: float = Field(
        8.0, gt=0, description="a night that takes longer than this raises an alert"
    )
    approval_hours: float = Field(
        24.0, gt=0, description="how long a promotion waits for a person; then it is rejected"
    )
    smoke_schedule: str | None = Field(
        None, description="cron of the DAG `smoke`; without it only by hand"
    )

    @field_validator("alert_url")
    @classmethod
    def _is_web(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        text = url.get_secret_value().strip()
        # Without the text: what pydantic shows of a secret is masked, what we say is not.
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or any(letter.isspace() for letter in text):
            raise ValueError("a webhook is an address that starts with https:// (or http://)")
        return SecretStr(text)

    @property
    def as_of(self) -> list[str]:
        """For a shop that is history, its last moment stands in for now; else nothing."""
        if self.last_night is None:
            return []
        return ["--as-of", (self.last_night + timedelta(days=1)).isoformat()]

    @property
    def start_date(self) -> datetime:
        """`start_night` as Airflow takes it."""
        return datetime.combine(self.start_night, time(), UTC)


@lru_cache(maxsize=1)
def airflow_settings() -> AirflowSettings:
    """The settings of this process.

    Raises:
        SettingsError: a value out of range, with the variable's name.
    """
    hint = "they are listed in plugins/nightshift_airflow/settings.py and pod_settings.py"
    try:
        return AirflowSettings()
    except SourceError as error:  # a list or a table in a variable is written as JSON
        raise SettingsError(f"Airflow-side settings are wrong: {error}.", hint=hint) from None
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(f"Airflow-side settings are wrong: {problems}.", hint=hint) from None
