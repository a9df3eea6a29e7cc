"""How Airflow runs the stages: the few settings that no stage may know.

They are kept out of `nightshift.settings` on purpose: a stage's key must not change because the
stage moved from a process to a pod.
Environment variables, such as `NIGHTSHIFT_AIRFLOW__RUNNER=pod`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from nightshift.errors import SettingsError

PREFIX = "NIGHTSHIFT_AIRFLOW__"


class AirflowSettings(BaseSettings):
    """What the DAGs and their operators need to know about the place they run in."""

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
    housekeeping_schedule: str = Field(
        "0 12 * * 0", description="cron, UTC; when the lake is tidied, best between two nights"
    )

    image: str = Field("nightshift-worker:latest", description="what a pod runs")
    namespace: str = Field("nightshift", description="where pods are started")
    secret: str = Field(
        "nightshift", description="Kubernetes secret with NIGHTSHIFT_STORE__URL and the like"
    )
    pod_template: Path | None = Field(None, description="YAML of a pod: resources, security, nodes")
    gpus: int = Field(0, ge=0, description="GPUs of a pod that generates or trains")

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
    try:
        return AirflowSettings()
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(
            f"Airflow-side settings are wrong: {problems}.",
            hint="they are listed in plugins/nightshift_airflow/settings.py",
        ) from None
