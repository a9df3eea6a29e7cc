"""How Airflow runs the stages: the few settings that no stage may know.

They are kept out of `nightshift.settings` on purpose: a stage's key must not change because the
stage moved from a process to a pod.
Environment variables, such as `NIGHTSHIFT_AIRFLOW__RUNNER=pod`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

from nightshift.errors import SettingsError
from nightshift_airflow.pod_settings import PodSettings

PREFIX = "NIGHTSHIFT_AIRFLOW__"


class AirflowSettings(PodSettings):
    """What the DAGs and their operators need to know about the place they run in.

    What concerns pods alone is in `nightshift_airflow.pod_settings`; its variables begin the same.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    runner: Literal["process", "pod"] = Field(
        "process", description="a stage is a process beside the task, or a Kubernetes pod"
    )
    schedule: str = Field("0 0 * * *", description="cron, UTC; each run's interval is one night")
    last_night: date | None = Field(
        None, description="nothing is scheduled after this date: for a shop that is history"
    )
    gpu_pool: str = Field(
        "default_pool", description="pool of generate, tune and finetune; as many slots as GPUs"
    )
    parent_wait_seconds: int = Field(
        6 * 3600, ge=0, description="how long a night waits for the state it starts from"
    )
    retries: int = Field(2, ge=0, description="per task; doubled waits in between")
    retry_seconds: float = Field(60.0, ge=0, description="wait before the first retry")
    max_active_runs: int = Field(2, ge=1, description="nights of the schedule at the same time")

    @property
    def end_date(self) -> datetime | None:
        """`last_night` as Airflow takes it: no run with a later date."""
        return datetime.combine(self.last_night, time(), UTC) if self.last_night else None


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
