"""The settings of the runner `pod`: everything a shop's cluster may ask of a stage's pod.

Variables such as `NIGHTSHIFT_AIRFLOW__POD_MEMORY=16Gi`; lists and tables are JSON. A setting that
is given wins over the pod template; what neither says is closed as far as a stage can stand it
(see `nightshift_airflow.pods.body`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class PodSettings(BaseSettings):
    """The branch of `AirflowSettings` that only the runner `pod` reads."""

    # --- what runs, and where ---
    image: str = Field("nightshift-worker:latest", description="what a pod runs")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="by default Kubernetes': Always for the tag latest"
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description='Kubernetes secrets of the registry: ["registry"]'
    )
    namespace: str = Field("nightshift", description="where pods are started")
    service_account: str | None = Field(
        None, description="of the pods, for a cloud's workload identity; no token is mounted"
    )
    secret: str = Field(
        "nightshift", description="Kubernetes secret with NIGHTSHIFT_STORE__URL and the like"
    )
    pod_template: Path | None = Field(None, description="YAML of a pod; see deploy/")
    gpu_pod_template: Path | None = Field(
        None, description="another one for what generates or trains"
    )
    kubernetes_connection: str = Field(
        "kubernetes_default",
        description="Airflow connection; if there is none: the cluster that Airflow runs in",
    )
    kube_config: Path | None = Field(
        None, description="kubeconfig, for an Airflow outside of the cluster"
    )

    # --- what it may use ---
    pod_cpu: str | None = Field(None, description='CPUs requested, such as "2" or 500m')
    pod_memory: str | None = Field(None, description="requested and limit, such as 8Gi")
    gpu_pod_cpu: str | None = Field(None, description="the same for what generates or trains")
    gpu_pod_memory: str | None = Field(None, description="the same for what generates or trains")
    gpus: int = Field(0, ge=0, description="GPUs of a pod that generates or trains")
    gpu_resource: str = Field("nvidia.com/gpu", description="the GPUs' name in the cluster")
    scratch_size: str = Field("20Gi", description="limit of /scratch, a pod's own disk space")
    cache_claim: str | None = Field(
        None, description="PersistentVolumeClaim that keeps converted models between pods"
    )
    cache_host_path: Path | None = Field(
        None, description="the same on the nodes' own disks, instead of a claim"
    )

    # --- which nodes ---
    node_selector: dict[str, str] = Field(default_factory=dict, description="labels of the nodes")
    gpu_node_selector: dict[str, str] = Field(
        default_factory=dict, description="further ones for what generates or trains"
    )
    tolerations: tuple[dict[str, Any], ...] = Field((), description="as in a pod's spec")
    gpu_tolerations: tuple[dict[str, Any], ...] = Field(
        (), description="further ones for what generates or trains"
    )
    affinity: dict[str, Any] = Field(default_factory=dict, description="as in a pod's spec")

    # --- how long ---
    schedule_seconds: int = Field(
        900, ge=1, description="how long a pod may wait for a node: one may have to be started"
    )
    startup_seconds: int = Field(900, ge=1, description="and then for its image and its start")
    config_error_seconds: float = Field(
        60.0, ge=0, description="how long a missing secret may take to appear"
    )
    stop_seconds: int = Field(
        30, ge=1, description="between asking a stage to stop and killing it; it needs 10"
    )
    poll_seconds: float = Field(5.0, gt=0, description="how often a pod's state is asked for")
    log_seconds: float = Field(
        15.0, gt=0, description="how often the stage's lines are brought to the task's log"
    )
