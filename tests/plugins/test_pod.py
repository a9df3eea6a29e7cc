"""The same stage as a pod: a body that Kubernetes accepts, the same command, no secret in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from airflow.sdk import DAG
from airflow_for_tests import PROJECT
from kubernetes.client import ApiClient

from nightshift.night import Night
from nightshift_airflow.operators.pod import PodStageOperator, pod_environment
from nightshift_airflow.resolver import Run
from nightshift_airflow.settings import AirflowSettings

RUN = Run(Night.parse("2017-11-20"), first=True, sets=("generate.seed=3",))
PLACE = AirflowSettings(
    runner="pod", gpus=1, pod_template=PROJECT / "deploy" / "pod-template.yaml", image="shop/w:1"
)
ENVIRON = {
    "NIGHTSHIFT_LAKE__ROOT": "s3://lake",
    "NIGHTSHIFT_LAKE__OPTIONS": '{"secret": "hush"}',
    "NIGHTSHIFT_STORE__URL": "postgresql+psycopg2://u:hush@db/shop",
    "NIGHTSHIFT_STORE__PSEUDONYM_KEY": "hush",
    "NIGHTSHIFT_HOME": "/somewhere/here",
    "NIGHTSHIFT_AIRFLOW__RUNNER": "pod",
    "AIRFLOW__CORE__FERNET_KEY": "hush",
}
KUBERNETES = ("1.28", "1.31", "1.34")


CLUSTER = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "test",
    "clusters": [{"name": "test", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "test", "user": {}}],
    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
}


@pytest.fixture(autouse=True)
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that nothing is sent to: the operator only asks whether it is inside one."""
    (tmp_path / "kube").write_text(json.dumps(CLUSTER))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kube"))


def body(stage: str, **parts: str) -> dict[str, Any]:
    with DAG(dag_id="test_pods"):
        operator = PodStageOperator(
            task_id=stage,
            stage=stage,
            parts=parts,
            place=PLACE,
            config_file=os.environ["KUBECONFIG"],
        )
    operator.arguments = RUN.arguments(stage, parts)
    operator.env_vars = pod_environment(ENVIRON)
    pod = operator.build_pod_request_obj()
    found: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_the_body(version: str) -> None:
    for made in (body("collect"), body("generate", shard="llm_queries-000")):
        kubernetes_validate.validate(made, version, strict=True)


def test_the_schemas_would_notice_a_typo() -> None:
    broken = body("collect")
    broken["spec"]["containers"][0]["imagePullPolice"] = "Always"

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_the_pod_runs_the_command_of_the_process() -> None:
    container = body("generate", shard="llm_queries-000")["spec"]["containers"][0]

    assert container["image"] == "shop/w:1"
    assert container["command"] == ["python", "-m", "nightshift.cli"]
    assert container["args"] == RUN.arguments("generate", {"shard": "llm_queries-000"})


def test_settings_travel_and_secrets_do_not() -> None:
    made = body("collect")
    container = made["spec"]["containers"][0]

    passed = {entry["name"]: entry["value"] for entry in container["env"]}
    assert passed["NIGHTSHIFT_LAKE__ROOT"] == "s3://lake"
    assert passed["NIGHTSHIFT_HOME"] == "/scratch"  # the template's, not this machine's
    assert "hush" not in str(made)
    assert container["envFrom"] == [{"secretRef": {"name": "nightshift"}}]


def test_only_what_trains_or_generates_asks_for_a_gpu() -> None:
    def limits(stage: str, **parts: str) -> dict[str, str]:
        found: dict[str, str] = body(stage, **parts)["spec"]["containers"][0]["resources"]["limits"]
        return found

    assert limits("finetune", arm="control", seed="0")["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits("collect")


def test_the_template_closes_what_a_stage_does_not_need() -> None:
    spec = body("collect")["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert spec["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
