"""What a stage's pod is made of: accepted by Kubernetes, closed by default, no secret in it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from airflow_for_tests import PROJECT
from cluster import Cluster
from kubernetes.client import ApiClient
from pod_tasks import RUN, context, operator, place

from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift_airflow.pods.environment import variables_of
from nightshift_airflow.settings import AirflowSettings

VERSIONS = ("1.28", "1.31", "1.34", kubernetes_validate.latest_version())
SHIPPED = PROJECT / "deploy" / "pod-template.yaml"
FULL: dict[str, Any] = {
    "gpus": 2,
    "image_pull_policy": "Always",
    "image_pull_secrets": ("registry",),
    "service_account": "night",
    "pod_cpu": "500m",
    "pod_memory": "4Gi",
    "gpu_pod_cpu": "8",
    "gpu_pod_memory": "64Gi",
    "cache_claim": "models",
    "node_selector": {"pool": "batch"},
    "gpu_node_selector": {"gpu": "h100"},
    "tolerations": ({"key": "batch", "operator": "Exists"},),
    "gpu_tolerations": ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
                ]
            }
        }
    },
}
"""Every setting that a shop may give."""
OPEN = """
apiVersion: v1
kind: Pod
metadata:
  name: open
spec:
  automountServiceAccountToken: true
  securityContext:
    runAsNonRoot: false
  containers:
    - name: base
      resources:
        limits:
          memory: 2Gi
      securityContext:
        readOnlyRootFilesystem: false
        capabilities:
          add: [IPC_LOCK]
      volumeMounts:
        - name: mine
          mountPath: /scratch
  volumes:
    - name: mine
      emptyDir: {}
"""
"""A template that says otherwise in so many words, and nothing about the rest."""


@pytest.fixture(autouse=True)
def lake(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", "s3://lake")


def body(stage: str, where: AirflowSettings | None = None) -> dict[str, Any]:
    """As the API server would get it."""
    parts = dict.fromkeys(STAGES[stage].parts, "x-000")
    task = operator(stage, parts=parts, place=where or place())
    given = context(stage)
    task.name, task.arguments = "made", RUN.arguments(stage, parts)
    found: dict[str, Any] = ApiClient().sanitize_for_serialization(
        task.build_pod_request_obj(given)
    )
    return found


def base(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("settings", "template"),
    list(itertools.product(({}, {"gpus": 1}, FULL), (None, SHIPPED))),
    ids=lambda value: f"{len(value)} settings" if isinstance(value, dict) else "",
)
def test_kubernetes_accepts_every_pod_of_the_night(
    settings: dict[str, Any], template: Path | None
) -> None:
    where = place(**settings, pod_template=template)
    for stage in STAGES:
        made = body(stage, where)
        for version in VERSIONS:
            kubernetes_validate.validate(made, version, strict=True)


def test_the_schemas_would_notice_a_typo() -> None:
    broken = body("collect")
    base(broken)["imagePullPolice"] = "Always"

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_what_the_shipped_template_leaves_out_is_valid_as_well() -> None:
    """Its optional lines, with the comment's sign taken away."""
    lines = [
        line.replace("#~ ", "", 1) if line.lstrip().startswith("#~ ") else line
        for line in SHIPPED.read_text().splitlines()
    ]
    whole = yaml.safe_load("\n".join(lines))
    base(whole)["image"] = "shop/worker:1"

    kubernetes_validate.validate(whole, "1.34", strict=True)
    assert whole != yaml.safe_load(SHIPPED.read_text())


def test_the_pod_runs_the_command_of_the_process() -> None:
    container = base(body("generate"))

    assert container["image"] == "shop/worker:1"
    assert container["command"] == ["python", "-m", "nightshift.cli"]
    assert container["args"] == RUN.arguments("generate", {"shard": "x-000"})


def test_every_setting_reaches_the_pod() -> None:
    made = body("finetune", place(**FULL))
    spec, container = made["spec"], base(made)

    assert container["imagePullPolicy"] == "Always"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "night"
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"]["cpu"] == "8"
    assert spec["nodeSelector"] == {"pool": "batch", "gpu": "h100"}
    assert [one["key"] for one in spec["tolerations"]] == ["batch", "nvidia.com/gpu"]
    assert spec["affinity"] == FULL["affinity"]
    assert spec["activeDeadlineSeconds"] == 60  # the task's own limit
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert volumes["cache"]["persistentVolumeClaim"] == {"claimName": "models"}
    assert mounts["cache"] == "/scratch/models"
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory"}
    assert mounts["shm"] == "/dev/shm"


def test_only_what_trains_or_generates_gets_a_gpu_and_its_nodes() -> None:
    made = body("collect", place(**FULL))

    assert base(made)["resources"]["limits"] == {"memory": "4Gi"}
    assert made["spec"]["nodeSelector"] == {"pool": "batch"}
    assert "shm" not in {volume["name"] for volume in made["spec"]["volumes"]}


def test_one_gpu_needs_no_shared_memory() -> None:
    made = body("finetune", place(gpus=1))

    assert base(made)["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "shm" not in {volume["name"] for volume in made["spec"]["volumes"]}


def test_a_cache_may_lie_on_the_nodes() -> None:
    made = body("generate", place(cache_host_path="/var/cache/nightshift"))

    volumes = {volume["name"]: volume for volume in made["spec"]["volumes"]}
    assert volumes["cache"]["hostPath"]["path"] == "/var/cache/nightshift"


def _closed(made: dict[str, Any]) -> dict[str, Any]:
    spec, container = made["spec"], base(made)
    whole, own = spec["securityContext"], container["securityContext"]
    return {
        "token": spec["automountServiceAccountToken"],
        "root": not whole["runAsNonRoot"],
        "seccomp": whole["seccompProfile"]["type"],
        "escalation": own["allowPrivilegeEscalation"],
        "writable": not own["readOnlyRootFilesystem"],
        "dropped": own["capabilities"]["drop"],
        "links": spec["enableServiceLinks"],
        "restart": spec["restartPolicy"],
        "spaces": {one["mountPath"] for one in container["volumeMounts"]},
    }


CLOSED = {
    "token": False,
    "root": False,
    "seccomp": "RuntimeDefault",
    "escalation": False,
    "writable": False,
    "dropped": ["ALL"],
    "links": False,
    "restart": "Never",
    "spaces": {"/scratch", "/tmp"},
}


def test_a_pod_is_closed_with_and_without_the_shipped_template() -> None:
    assert _closed(body("collect")) == CLOSED
    assert _closed(body("collect", place(pod_template=SHIPPED))) == CLOSED


def test_a_template_that_says_otherwise_is_believed_and_the_rest_stays_closed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "open.yaml"
    path.write_text(OPEN)
    made = body("finetune", place(pod_template=path, gpus=1))

    assert _closed(made) == CLOSED | {"token": True, "root": True, "writable": True}
    assert base(made)["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    assert base(made)["resources"]["limits"] == {"memory": "2Gi", "nvidia.com/gpu": "1"}
    assert {"name": "mine", "mountPath": "/scratch"} in base(made)["volumeMounts"]


def test_gpu_stages_may_have_a_template_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "gpu.yaml"
    path.write_text(OPEN)
    where = place(pod_template=SHIPPED, gpu_pod_template=path)

    assert body("finetune", where)["spec"]["automountServiceAccountToken"] is True
    assert body("collect", where)["spec"]["automountServiceAccountToken"] is False


def test_a_pods_variables_hold_no_secret_and_its_secret_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORE__PSEUDONYM_KEY", "hush")
    task, given = operator("collect"), context()
    task.env_vars = variables_of(Settings.load())
    made = ApiClient().sanitize_for_serialization(task.build_pod_request_obj(given))

    assert "hush" not in str(made)
    passed = {entry["name"]: entry["value"] for entry in base(made)["env"]}
    assert passed["NIGHTSHIFT_LAKE__ROOT"] == "s3://lake"
    assert passed["NIGHTSHIFT_HOME"] == "/scratch"
    assert base(made)["envFrom"] == [{"secretRef": {"name": "nightshift"}}]
